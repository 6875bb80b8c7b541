"""How the figures of the comparison are put into words, on the page and in the terminal."""

from intriguing.report.text import count, number, percent
from intriguing.stages.paper.reading import Reading, Row

OUTCOMES = {"holds": "Holds", "fails": "Refuted", "open": "Open", "unknown": "Unknown"}
WHAT_DIFFERS = {
    "initialisation": "the initialisation alone",
    "training set": "the training set alone (disjoint)",
    "training set and initialisation": "the training set and the initialisation",
    "architecture": "the architecture or its training",
    "architecture and training set": "the architecture and the training set",
}
_RATIO = "far more than noise"


def claim_figure(row: Row) -> str:
    """A claim's figure with its interval and p-value, as a clause."""
    if row["value"] is None:
        return f"{row['pairs']} pairs of networks."
    interval = "" if row["low"] is None else f" ({bounds(row)})"
    return f"{value(row)}{interval}{p_value(row)}; {row['pairs']} pairs of networks."


def p_value(row: Row) -> str:
    """A claim's p-value after a semicolon; "" where it has none."""
    return "" if row["p_holm"] is None or row["low"] is None else f"; Holm's p = {row['p_holm']:.2g}"


def value(row: Row) -> str:
    """A claim's figure: a ratio as a multiple, a difference in points of a percentage."""
    return f"{number(row['value'], 3)} times" if row["name"] == _RATIO else f"{percent(row['value'])} points"


def bounds(row: Row) -> str:
    """The ends of its interval."""
    shown = number if row["name"] == _RATIO else percent
    return f"{shown(row['low'])} to {shown(row['high'])}"


def opening(reading: Reading) -> str:
    """What was compared: data set, images, rule and grade."""
    attacked = max((row["n"] for row in reading.cells if row["measure"] in ("minimal", "noise 0.1")), default=0)
    where = reading.dataset if reading.source in ("", reading.dataset) else f"{reading.dataset} (from {reading.source})"
    beside = ", beside the paper's" if reading.has_paper else ""
    return (
        f"{where}: up to {count(attacked)} images for each of {len(reading.models())} models{beside}. Matrices are of "
        f"targets {reading.rule}, grade {reading.grade}."
    )


def amplified(reading: Reading) -> str:
    """How changes were amplified, and what clipping left of their size; nothing where none was."""
    main = (reading.rule, reading.grade)
    fed = [r for r in reading.cells if r["measure"] == "amplified" and (r["target_rule"], r["grade"]) == main]
    sizes = [row["rms"] for row in fed if row["rms"] is not None]
    if not sizes:
        return ""
    low, high = number(min(sizes), 3), number(max(sizes), 3)
    return (
        f"Amplified: x + {reading.amplified_rms:g} sqrt(n) (x' - x) / ||x' - x||, where the paper's formula lacks the "
        f"factor sqrt(n) in print, then clipped to [0, 1]; that leaves a mean RMS of "
        f"{low if low == high else f'{low} to {high}'}."
    )


def rule_sentence(row: Row) -> str:
    """How far a rule's mean distortions are from the paper's, in a sentence."""
    interval = "" if row["low"] is None else f" ({number(row['low'], 3)} to {number(row['high'], 3)})"
    return f"{row['target_rule']}, {row['grade']}: mean factor {number(row['value'], 3)}{interval}. {row['sentence']}"
