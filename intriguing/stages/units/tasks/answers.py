"""The answers of a run: Holm's correction over its tests, their verdicts, and whether the model or the data decides."""

from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from intriguing import tables
from intriguing.engine.worker import Work
from intriguing.errors import InputError
from intriguing.randomness import generator
from intriguing.stages.units import functions
from intriguing.stages.units.names import ENCODER, FIGURES, LIVE, RANDOM, RAW, SHUFFLED, TRAINED
from intriguing.stats.crossed_design import CrossedDesign, crossed_design, least_p_values
from intriguing.stats.findings import LEVEL, counted, effect_in_words, finding, significant
from intriguing.stats.multiple import holm
from intriguing.stats.signs import signed
from intriguing.units.rotation import RotationTest, corrected
from intriguing.units.scoring.scores import METRICS

_FAMILIES = {
    "network": ("dataset", "model", "model_seed", "control", "condition"),
    "metric": ("metric", "judge", "control", "condition"),
    "run": ("control", "condition"),
}


@functions.CORRECTION.implementation
def correction(work: Work, parameters: functions.CorrectionParameters) -> dict[str, pa.Table]:
    """The table `rotation_tests`: every test of the run, corrected among those that it shares its `family` with.

    network: all layers and scores of one network. metric: all networks and layers of one score. run: all of them.
    Controls and conditions are corrected apart. What two models have in common (untrained controls of one architecture
    and seed are one network) counts once.
    """
    rows = work.table("tests").to_pylist()
    families: dict[tuple[Any, ...], list[int]] = {}
    for i, row in enumerate(rows):
        families.setdefault(tuple(row[name] for name in _FAMILIES[parameters.family]), []).append(i)
    for members in families.values():
        distinct: dict[tuple[Any, ...], list[int]] = {}
        for i in members:
            distinct.setdefault(_identity(rows[i], i), []).append(i)
        groups = list(distinct.values())
        for group, test in zip(groups, corrected([_test(rows[group[0]]) for group in groups]), strict=True):
            for i in group:
                rows[i]["p_holm"] = test.p_holm
                if test.alpha == 0 and test.natural is not None:
                    rows[i]["verdict"] = finding(rows[i], METRICS[test.metric].wording(rows[i]["judge"])).sentence
    _hold_against_controls(rows)
    return {"rotation_tests": pa.Table.from_pylist(rows, tables.ROTATION_TESTS.schema)}


def _identity(row: dict[str, Any], number: int) -> tuple[Any, ...]:
    """What rows of one and the same test have in common; the row's own number where no figures tell."""
    return (row["alpha"], *(row[name] for name in FIGURES)) if row["null_sd"] else (number,)


_ALSO = {
    SHUFFLED: ("Shuffled labels give", "is of the classes"),
    RANDOM: ("The untrained network has", "was learned"),
}


def _hold_against_controls(rows: list[dict[str, Any]]) -> None:
    """Say so in the verdict where a control differs from its rotations as the trained network does."""
    keys = ("dataset", "model", "model_seed", "layer", "metric", "judge", "condition", "alpha")
    controls = {(row["control"], *(row[name] for name in keys)): row for row in rows if row["control"] in _ALSO}
    for row in rows:
        if row["control"] != TRAINED or not _is_found(row):
            continue
        for control, (who, what) in _ALSO.items():
            twin = controls.get((control, *(row[name] for name in keys)))
            if twin is not None and _is_found(twin) and twin["effect"] * row["effect"] > 0:
                row["verdict"] += f" {who} such a difference too, {_beside(row, twin, what)}."


def _beside(row: dict[str, Any], twin: dict[str, Any], what: str) -> str:
    """The control's difference, and what of the tested one's lies beyond it: the difference of the differences, its
    95 % interval from the intervals of both.
    """
    own, other = (r["natural"] - r["null_mean"] for r in (row, twin))
    difference = f"{signed(other)} ({effect_in_words(twin['effect'])})"
    if row["low"] is None or twin["low"] is None:
        return f"{difference}: not all of it {what}"
    half = float(np.hypot(row["high"] - row["low"], twin["high"] - twin["low"])) / 2
    rest = own - other
    if rest * own <= 0 or abs(rest) <= half:
        return f"{difference}: nothing shows that any of it {what}"
    interval = f"95 % interval {signed(rest - half)} to {signed(rest + half)}"
    return f"{difference}: what lies beyond, {signed(rest)} ({interval}), {what}"


def _is_found(row: dict[str, Any]) -> bool:
    return row["alpha"] == 0 and row["effect"] is not None and significant(row["p_holm"])


@functions.MODEL_OR_DATA.implementation
def model_or_data(work: Work, parameters: functions.ModelOrDataParameters) -> dict[str, pa.Table]:
    """The table `model_or_data`: per score, what part of the effects in the models' last layers comes from where.

    Dead units share one and the same top K, which says nothing of the basis: where layers were tested without dead or
    saturated units, the answer is given both ways, `live` (which the sentence leads with) and `raw`.
    """
    tested: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {RAW: {}, LIVE: {}}
    for row in work.table("tests").to_pylist():
        if row["control"] != TRAINED or row["alpha"] != 0 or row["layer"] != parameters.last_layers[row["model"]]:
            continue
        if row["condition"] in tested:
            key = ((row["metric"], row["judge"]), *(row[name] for name in ("dataset", "model", "model_seed")))
            tested[row["condition"]][key] = row
    rows = []
    for score in dict.fromkeys(key[0] for key in tested[RAW]):
        every = {key: row for key, row in tested[RAW].items() if key[0] == score}
        without = {key: row for key, row in tested[LIVE].items() if key in every}
        if without:
            verb = "has" if len(without) == 1 else "have"
            which = f"without dead or saturated units, which {len(without)} of {len(every)} layers {verb}"
            live = _figures(score, LIVE, which, list((every | without).values()))
            raw = _figures(score, RAW, "all units", list(every.values()))
            also = f" With all units: {raw[0]['sentence'].partition(': ')[2].partition(':')[0]}."
            rows += [row | {"sentence": row["sentence"] + also} for row in live] + raw
        else:
            rows += _figures(score, RAW, "", list(every.values()))
    return {"model_or_data": pa.Table.from_pylist(_over_all(rows) + rows, tables.MODEL_OR_DATA.schema)}


def _over_all(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many scores the model, the data and both together explain a part of; Holm's correction is over the scores.

    A score without dead units anywhere has one answer, which counts for both conditions.
    """
    answers = []
    for condition in (LIVE, RAW):
        if not any(row["condition"] == condition for row in rows):
            continue
        chosen: dict[tuple[str, str | None], dict[str, dict[str, Any]]] = {}
        for row in rows:
            if row["figure"] == "share" and row["value"] is not None:
                own = chosen.setdefault((row["metric"], row["judge"]), {})
                if row["condition"] == condition or row["name"] not in own:
                    own[row["name"]] = row
        if not chosen:
            continue
        counts = {
            name: sum(map(significant, holm(np.array([shares[name]["p"] for shares in chosen.values()])).tolist()))
            for name in ("model", "data", "both")
        }
        share = {name: median(shares[name]["value"] for shares in chosen.values()) for name in (*counts, "seed")}
        without = "with all units" if condition == RAW else "without dead or saturated units"
        silent = len({(row["metric"], row["judge"]) for row in rows} - chosen.keys())
        unanswered = f" ({silent} more {'has' if silent == 1 else 'have'} no answer)" if silent else ""
        sentence = (
            f"Of {len(chosen)} score{'' if len(chosen) == 1 else 's'}{unanswered}, {without}, the model explains a "
            f"part of the effects in {counts['model']} (median share {share['model']:.0%}), the data in "
            f"{counts['data']} ({share['data']:.0%}), their combination in {counts['both']} ({share['both']:.0%}); "
            f"seeds {share['seed']:.0%}.{_of_few_networks(rows, len(chosen))}"
        )
        blank = {
            "metric": "all",
            "judge": None,
            "condition": condition,
            "figure": "scores",
            "n": len(chosen),
            "sentence": sentence,
        }
        answers += [blank | {"name": name, "value": float(count)} for name, count in counts.items()]
    return answers


def _of_few_networks(rows: list[dict[str, Any]], scores: int) -> str:
    """A sentence where so few networks allow no finding after Holm's correction over the `scores`; "" elsewhere."""
    models, data = (len({row["name"] for row in rows if row["figure"] == figure}) for figure in ("model", "data"))
    networks = max(row["n"] for row in rows if row["figure"] == "share" and row["value"] is not None)
    words = {"model": "the model", "data": "the data", "both": "their combination"}
    least = least_p_values(models, data, networks // (models * data))
    silent = [words[name] for name, p in least.items() if p * scores > LEVEL]
    if not silent:
        return ""
    return (
        f" Of {networks} networks nothing can be found for {' and '.join(silent)} after Holm's correction over "
        f"{counted(scores, 'score')}: take more seeds."
    )


def _figures(
    score: tuple[str, str | None], condition: str, which: str, cells: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    metric, judge = score
    name = metric if judge in (None, ENCODER) else f"{metric} judged by {judge}"
    name = f"{name} ({which})" if which else name
    blank = {"metric": metric, "judge": judge, "condition": condition, "n": len(cells)}
    blank |= {"value": None, "low": None, "high": None, "p": None}
    effects = [float("nan") if c["effect"] is None else c["effect"] for c in cells]
    try:
        models, data = ([cell[name] for cell in cells] for name in ("model", "dataset"))
        design = crossed_design(models, data, effects, rng=generator(0, "crossed design"))
    except InputError as error:
        return [blank | {"figure": "share", "name": "model", "sentence": f"{name}: No answer: {error}"}]
    shares = [
        {"figure": "share", "name": s.name, "value": s.share, "low": s.low, "high": s.high, "p": s.p}
        for s in design.sources
    ]
    sentence = f"{name}: {design.sentence}{_of_equal_seeds(cells)}"
    return [blank | row | {"sentence": sentence} for row in [*shares, *_means(design)]]


def _of_equal_seeds(cells: list[dict[str, Any]]) -> str:
    """A warning where the seeds of a model all gave the same network: they are no replicates."""
    effects: dict[tuple[str, str], set[float]] = {}
    for cell in cells:
        effects.setdefault((cell["model"], cell["dataset"]), set()).add(cell["effect"])
    models = sorted({model for model, _ in effects})
    equal = [m for m in models if all(len(values) == 1 for (model, _), values in effects.items() if model == m)]
    if not equal:
        return ""
    return f" All seeds of {', '.join(equal)} gave the same network: they add nothing to the intervals."


def _means(design: CrossedDesign) -> list[dict[str, Any]]:
    return [
        {"figure": figure, "name": name, "value": value, "low": low, "high": high}
        for figure, group in (("model", design.by_model), ("data", design.by_data))
        for name, (value, low, high) in group.items()
    ]


def _test(row: dict[str, Any]) -> RotationTest:
    fields = RotationTest.__dataclass_fields__
    return RotationTest(**{name: row[name] for name in fields})
