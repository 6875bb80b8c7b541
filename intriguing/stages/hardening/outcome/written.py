"""Hardening as Markdown: the tables and verdicts of a run, for `docs/results/hardening.md`."""

from pathlib import Path

from intriguing.basics.folders.presence import is_there
from intriguing.errors import InputError
from intriguing.results import Run
from intriguing.stages.hardening.outcome import in_words
from intriguing.stages.hardening.outcome.summary import ModelSummary, Row, VariantSummary, summaries
from intriguing.stats.findings import counted
from intriguing.stats.seeds import PairedDifference
from intriguing.stats.signs import signed


def write_into(path: Path, run: Run) -> None:
    """Put the results of `run` into a file: in place of those of its spec, or at the end where there are none yet.

    They stand between two comments that name the spec; nothing else of the file changes.

    Raises: `InputError` where the first comment is there and the second is not.
    """
    spec = run.spec["name"]
    opening = f"<!-- {spec}: written by `python jobs/hardening.py {spec} --results` -->"
    closing = f"<!-- {spec}: end -->"
    text = path.read_text(encoding="utf-8") if is_there(path) else ""
    before, found, rest = text.partition(opening)
    _, ended, after = rest.partition(closing)
    if found and not ended:
        raise InputError(
            f"{path} has the line {opening} and not the one that ends it: write {closing} below the results."
        )
    if not found:
        before, after = f"{text.rstrip()}\n\n" if text.strip() else "", "\n"
    path.write_text(f"{before}{opening}\n\n{written(run)}\n{closing}{after}", encoding="utf-8")


def written(run: Run) -> str:
    """The results of every model that was hardened; raises nothing where a part is not finished yet."""
    section = run.section("hardening")
    seeds, trials = len(section.get("seeds", ())), int(section.get("trials", 0))
    parts = [f"## {run.spec['name']}: {_model(model, seeds, trials)}" for model in summaries(run)]
    return "\n\n".join(parts) + "\n" if parts else "Nothing was hardened yet.\n"


def _model(model: ModelSummary, asked: int, trials: int) -> str:
    seeds, base = model.seeds, model.baseline
    whole = f"{counted(len(seeds), 'seed')} of every variant" + (
        f" (of {asked} in the spec)" if len(seeds) < asked else ""
    )
    chosen = f" Options were chosen on held-out training images, from {trials} settings." if trials else ""
    answered = [claim for claim in model.claims if claim["outcome"] != "unknown"]
    goals = [f"until the error is {100 * reached.goal:.2f} %" for reached in model.variants[0].reached]
    return "\n".join(
        [
            f"{model.model} on {model.dataset}",
            "",
            f"{whole}; errors on {model.images:,} {model.split} images, where the binomial standard deviation of an "
            f"error of {base} is {100 * model.test_noise:.2f} points. Means over seeds ± half of the 95 % interval "
            f"(Student's t); differences are paired by seed. The distortion is over those of the same images for all "
            f'that a network gets right; "times {base}" is over the images that both networks of a seed get right.'
            f"{chosen}",
            "",
            *_table(
                [
                    "variant",
                    "epochs",
                    "train error, %",
                    "error, %",
                    f"minus {base}, points",
                    "mean minimal distortion",
                    f"times {base}",
                    "proven bound",
                    "fooled by its images, %",
                    "CPU-s (searching)",
                ],
                [_cells(v) for v in model.variants],
            ),
            "",
            f"How soon an error is reached, and how large the changes in use are at the end. {in_words.SCHEDULE}",
            "",
            *_table(
                ["variant", *goals, "RMS of the changes"],
                [
                    [v.name, *map(in_words.reached, v.reached), ", ".join(in_words.sizes(model, v)) or "–"]
                    for v in model.variants
                ],
            ),
            *_answers(answered, model.images),
            "",
            _best(model),
        ]
    )


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def _answers(claims: list[Row], images: int) -> list[str]:
    """A table of the claims that have an answer, and a sentence for each."""
    if not claims:
        return []
    header = ["claim", "answer", "figure", "95 % interval", "noise of the test set", "Holm's p"]
    said = [f"- {c['sentence']}. It would have been refuted by {c['refuted_by']}." for c in claims]
    return ["", *_table(header, [_claim(claim, images) for claim in claims]), "", *said]


def _claim(claim: Row, images: int) -> list[str]:
    value, interval = in_words.value(claim)
    remark = f" ({claim['remark']})" if claim["remark"] else ""
    return [
        claim["claim"],
        f"{claim['outcome']}{remark}",
        f"{claim['measure']}: {value}",
        interval.removeprefix("95 % interval ") or "–",
        in_words.noise(claim, images),
        "–" if claim["p"] is None else f"{claim['p']:.2g}",
    ]


def _cells(v: VariantSummary) -> list[str]:
    times = in_words.ratio(v.robust)
    return [
        v.name,
        f"{v.epochs}",
        f"{100 * v.train_error:.2f}",
        in_words.spread(v.error, 100, 2),
        "–" if v.against is None else _signed(v.against),
        in_words.spread(v.distortion, 1, 4),
        "–" if times is None else f"{times[0]:.2f}",
        "–" if v.lower_bound is None else f"{v.lower_bound:.4f}",
        in_words.spread(v.fooled, 100, 0),
        f"{v.cpu_seconds:.0f}" + (f" ({v.searching:.0f})" if v.searching else ""),
    ]


def _signed(difference: PairedDifference) -> str:
    """A difference in points: "−0.20 (−0.31 to −0.09)", without an interval where there is none."""
    _, low, high = difference.interval
    interval = f" ({signed(100 * low, '.2f')} to {signed(100 * high, '.2f')})" if high > low else ""
    return f"{signed(100 * difference.mean, '.2f')}{interval}"


def _best(model: ModelSummary) -> str:
    """The variant that is hardest to fool among those whose mean error is no worse than the baseline's."""
    base = next(v for v in model.variants if v.name == model.baseline)
    good = {
        v.name: times[0] for v in model.variants if (times := in_words.ratio(v.robust)) and v.error[0] <= base.error[0]
    }
    if not good:
        return f"No variant has an error as low as {model.baseline}'s."
    best = max(good, key=lambda name: good[name])
    return (
        f"Hardest to fool among those with an error no worse than {model.baseline}'s: **{best}**, "
        f"{good[best]:.2f} times its mean minimal distortion."
    )
