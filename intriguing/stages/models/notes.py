"""What whoever reads a run should know of its models before its answers."""

from typing import Any

from intriguing.report import Context
from intriguing.stats.commonest import no_better_than_commonest

_MODELS = """
with classes as (select dataset, label, count(*) as images from examples where split = 'test' group by all),
     splits as (select dataset, sum(images) as images, max(images) / sum(images) as commonest
                from classes group by dataset)
select dataset, model, model_seed, test_error, images, commonest from models join splits using (dataset)
where test_error is not null order by dataset, model, model_seed"""


def notes(context: Context) -> list[str]:
    """A sentence per model that is no better than the commonest class of its test split.

    Nothing is said of networks that are meant to be untrained: the controls, those of the package that the spec takes
    as they are made, and those of which [hardening] trains variants, if they are not trained themselves.
    """
    hardened = context.run.section("hardening").get("models") or []
    untrained = _meant_untrained(context.run.section("models"), {str(name) for name in hardened})
    said = (
        no_better_than_commonest(
            f"{context.label(row)} on {row['dataset']}", row["test_error"], int(row["images"]), row["commonest"]
        )
        for row in context.query(_MODELS)
        if row["model"] not in untrained
    )
    return [sentence for sentence in said if sentence]


def _meant_untrained(models: dict[str, Any], hardened: set[str]) -> set[str]:
    """The models of a spec that are made here without weights and not trained; those `hardened`, whoever makes them."""
    tables = {name: model for name, model in models.items() if isinstance(model, dict)}
    return {name for name, model in tables.items() if _is_made_untrained(model, name, name in hardened)}


def _is_made_untrained(model: dict[str, Any], name: str, hardened: bool) -> bool:
    architecture, options = str(model.get("architecture") or name), model.get("options")
    own = ":" not in architecture or architecture.startswith("torchvision:")
    given = isinstance(options, dict) and any(options.get(key) for key in ("published", "pretrained"))
    return (own or hardened) and not model.get("train", True) and not model.get("weights") and not given
