"""The table `paper_claims`: what the paper claims of transfer, what a run says of it, and how near the two are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from intriguing.stages.paper.comparison.cells import CONTROLS, Beside, groups
from intriguing.stages.paper.comparison.paper_tables import SIX, THREE
from intriguing.stats.findings import significant
from intriguing.stats.multiple import holm
from intriguing.stats.ranks import spearman
from intriguing.stats.resampling import Estimate, weights
from intriguing.transfer import relations
from intriguing.transfer.answers import Answers
from intriguing.transfer.relations import Resampled, estimate, rank_correlation, related

FAR_MORE = 2.0
"""Far more than noise: more than this many times as often."""

UNKNOWN = (
    "No answer: it takes more families of networks, or more images that they get right and that fool them changed."
)
"""The sentence of a claim without a figure."""

Row = dict[str, Any]
Side = Literal["holds", "fails", "open"]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: what is measured, the value that divides yes from no, and the sentence of each answer."""

    measure: str
    reference: float
    holds: str
    fails: str
    open: str
    refuted_by: str


CLAIMS = {
    "across architectures": Claim(
        "wrong answers to adversarial images minus those to noise of the same size, between architectures",
        0.0,
        "Adversarial images transfer between architectures: they fool other networks more often than noise of the same "
        "size does.",
        "Adversarial images do not transfer between architectures: they fool other networks less often than noise of "
        "the same size does.",
        "No evidence that adversarial images transfer between architectures any better than noise of the same size.",
        "other networks that err no more often on adversarial images than on noise of the same size",
    ),
    "across training sets": Claim(
        "wrong answers to adversarial images minus those to noise of the same size, between disjoint training sets",
        0.0,
        "Adversarial images transfer between networks that never saw the same training image.",
        "Adversarial images do not transfer between networks of disjoint training sets: noise of the same size fools "
        "them more often.",
        "No evidence that adversarial images transfer between disjoint training sets.",
        "networks of the other half that err no more often on adversarial images than on noise of the same size",
    ),
    "far more than noise": Claim(
        "wrong answers to adversarial images, as a multiple of those to noise of the same size",
        FAR_MORE,
        "Adversarial images fool other networks far more often than noise of the same size: more than twice as often.",
        "Adversarial images fool other networks less than twice as often as noise of the same size.",
        "Whether adversarial images fool other networks more than twice as often as noise stays open.",
        "a rate of at most twice that of the noise",
    ),
    "one family more": Claim(
        "by how much more often a network of the source's own family is fooled, sources and targets held equal",
        0.0,
        "Networks of one family fool each other more often than networks of other families.",
        "Networks of one family fool each other less often than networks of other families.",
        "No evidence that networks of one family fool each other more often.",
        "the same rate for targets of the own and of another family, with each source's and target's own rate removed",
    ),
}


def claim_rows(answers: Answers, resampled: Resampled) -> list[Row]:
    """A row per claim and kind of change, corrected (Holm) over the claims of a kind; then the three effects."""
    rows = []
    for kind, control in CONTROLS.items():
        if kind in answers.wrong:
            part = [_claim(name, kind, each) for name, each in _estimates(answers, resampled, kind, control)]
            corrected = holm(np.array([np.nan if row["p"] is None else row["p"] for row in part]))
            for row, p in zip(part, corrected, strict=True):
                _judge(row, float(p))
            rows += part + list(_effects(resampled, kind))
    return rows


def agreement_rows(answers: Answers, resampled: Resampled, beside: Beside) -> Iterator[Row]:
    """How the order of the cells off the diagonal goes with that of the paper's: Spearman's correlation per table."""
    for kind, names, table in (("minimal", SIX, 2), ("minimal", THREE, 4), ("amplified", THREE, 4)):
        if kind not in answers.wrong:
            continue
        paper = np.full((len(answers.models),) * 2, np.nan)
        for s, source in enumerate(answers.models):
            for t, target in enumerate(answers.models):
                if source.name != target.name and {source.name, target.name} <= set(names):
                    printed = beside.of(kind, source, target)
                    paper[s, t] = np.nan if printed is None else printed.value
        found = estimate(rank_correlation(resampled.rates[kind], paper, np.ones_like(paper), spearman))
        if np.isfinite(found.value):
            measure = "Spearman's correlation of the cells off the diagonal with the paper's"
            yield _row(
                "agreement",
                f"order of table {table}{', amplified' if kind == 'amplified' else ''}",
                kind,
                measure,
                found,
                int(np.isfinite(paper).sum()),
            )


def rule_rows(distortions: Sequence[Row], found: pd.DataFrame, seed: int, draws: int) -> list[Row]:
    """How far the mean distortions are from table 1, by grade and rule: the mean factor between ours and the paper's.

    1 would be the paper's own figures. The first is the nearest. found: searches that found something.
    """
    six = pd.DataFrame([row for row in distortions if row.get("paper_table") == 1])
    if six.empty:
        return []
    rows = []
    for (grade, rule), part in groups(six, "grade", "target_rule"):
        ratio = np.log(part["value"] / part["paper"]).to_numpy(np.float64)
        spread = _factor_draws(found, rule, part, seed, draws)
        found_factor = Estimate.of(float(np.exp(np.abs(ratio).mean())), spread, 1.0)
        measure = "mean factor between our mean distortions and those of table 1"
        row = _row("agreement", "distortions of table 1", "minimal", measure, found_factor, len(part))
        rank = (
            spearman(part["value"].to_numpy(np.float64), part["paper"].to_numpy(np.float64)) if len(part) > 2 else 0.0
        )
        sentence = (
            f"Mean distortions are on average {'above' if ratio.mean() > 0 else 'below'} the paper's, by a factor of "
            f"{np.exp(abs(ratio.mean())):.2f}; order of the models: rank correlation {rank:.2f}."
        )
        rows.append(row | {"grade": grade, "target_rule": rule, "p": None, "sentence": sentence})
    return sorted(rows, key=lambda row: row["value"])


def _estimates(
    answers: Answers, resampled: Resampled, kind: str, control: str
) -> Iterator[tuple[str, tuple[Estimate, int]]]:
    models = resampled.models
    parts = (relations.TRAINING_SET, relations.BOTH, relations.ALL)
    pairs = {
        "across architectures": related(models, relations.ARCHITECTURE),
        "across training sets": related(models, *parts),
        "far more than noise": related(models, *relations.RELATIONS, relations.OVERLAPPING),
        "one family more": related(models, relations.ARCHITECTURE),
    }
    for name, chosen in pairs.items():
        count, reference = int(chosen.sum()), CLAIMS[name].reference
        if not count or (name != "one family more" and control not in resampled.rates):
            continue
        changed = answers.cells(kind) == 1
        match name:
            case "far more than noise":
                values, telling = resampled.ratio(kind, control, chosen), changed | (answers.cells(control) == 1)
            case "one family more":
                values, telling = resampled.family(kind, chosen), changed
            case _:
                values, telling = resampled.difference(kind, control, chosen), changed != (answers.cells(control) == 1)
        counted = answers.both_right & np.isfinite(answers.cells(kind)) & (chosen > 0)[:, :, None]
        images = int((telling & counted).any((0, 1)).sum())
        yield name, (estimate(values, reference).of_images(images), count)


def _claim(name: str, kind: str, found: tuple[Estimate, int]) -> Row:
    return _row("claim", name, kind, CLAIMS[name].measure, *found)


def _judge(row: Row, p_holm: float) -> None:
    """Put the answer into a claim's row: its outcome by the one rule of a finding, and its sentence."""
    claim = CLAIMS[row["name"]]
    row["p_holm"] = None if np.isnan(p_holm) else p_holm
    if row["value"] is None:
        row |= {"outcome": "unknown", "sentence": UNKNOWN, "refuted_by": claim.refuted_by}
        return
    side: Side = "open"
    if significant(row["p_holm"]):
        side = "holds" if row["value"] > claim.reference else "fails"
    row |= {"outcome": side, "sentence": getattr(claim, side), "refuted_by": claim.refuted_by}


def _effects(resampled: Resampled, kind: str) -> Iterator[Row]:
    """The rate over the pairs that differ in one thing, or in two: what another seed, half or architecture costs."""
    for name in relations.RELATIONS:
        chosen = related(resampled.models, name)
        if chosen.any():
            found = estimate(resampled.mean(kind, chosen))
            measure = "wrong answers where source and target differ in this, among images that both get right"
            yield _row("effect", name, kind, measure, found, int(chosen.sum())) | {"p": None}


def _row(figure: str, name: str, kind: str, measure: str, found: Estimate, pairs: int) -> Row:
    keys = {"figure": figure, "name": name, "kind": kind, "grade": "", "target_rule": "", "measure": measure}
    return keys | dict(found.columns()) | {"pairs": pairs, "draws": found.draws}


def _factor_draws(found: Any, rule: str, part: pd.DataFrame, seed: int, draws: int) -> np.ndarray:
    """(draws,): the mean factor for resampled images, the same resamples for every model."""
    searched, _, reduction = rule.partition(": ")
    chosen = found[(found["grade"] == part["grade"].iloc[0]) & (found["target_rule"] == searched)]
    chosen = chosen[chosen["label"] == chosen["clean_prediction"]]
    how = {"nearest": "min", "mean": "mean", "hardest": "max"}.get(reduction, "mean")
    table = chosen.pivot_table("distortion", "example_id", ["model", "model_seed"], aggfunc=how)
    drawn = weights(np.random.default_rng(seed), len(table), draws)
    logs = []
    for row in part.to_dict("records"):
        values = table[row["model"], row["model_seed"]].to_numpy(np.float64)
        there = np.isfinite(values)
        with np.errstate(divide="ignore", invalid="ignore"):
            means = (drawn @ np.where(there, values, 0)) / (drawn @ there)
        logs.append(np.abs(np.log(means / row["paper"])))
    return np.exp(np.mean(logs, axis=0))
