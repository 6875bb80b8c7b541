"""What a rotation test says, in a plain sentence."""

from intriguing.units.metrics import Inputs, Metric
from intriguing.units.rotation import RotationTest, unusable

LEVEL = 0.05


def verdict(test: RotationTest, score: Metric, inputs: Inputs | int) -> str:
    """One sentence on the natural basis: the finding, the difference with its interval, p, the detectable effect.

    Holm's p is used where there is one. `inputs` (or their number) tell why a test has no figures.
    """
    if test.natural is None or test.null_mean is None or test.p_two is None:
        reason = unusable(inputs, score) if isinstance(inputs, Inputs) else ""
        return f"No verdict on whether units are {score.higher} than rotations: {reason or 'the score does not exist'}."
    p = test.p_two if test.p_holm is None else test.p_holm
    label = "p" if test.p_holm is None else "Holm's p"
    difference = test.natural - test.null_mean
    interval = "" if test.low is None else f", 95 % interval {test.low:+.3g} to {test.high:+.3g}"
    effect = "" if test.effect is None else f", {test.effect:+.1f} null standard deviations"
    figures = f"{test.natural:.3g} against {test.null_mean:.3g}, difference {difference:+.3g}{interval}{effect}"
    rotations, made_of = (_counted(n, noun) for n, noun in ((test.rotations, "rotation"), (test.n, "input")))
    sided = [tail for tail in (test.p_high, test.p_low) if tail is not None]
    # Of a skewed null the mean may lie beyond its own tail: which tail is the smaller says which way.
    above = test.p_high is None or test.p_low is None or test.p_high <= test.p_low
    if p > LEVEL and sided and min(sided) <= 1 / (test.rotations + 1):
        side = "above" if above else "below"
        finding = (
            f"Undecided whether units are {score.higher} than rotations: {side} all rotations, too few to say more"
        )
    elif p > LEVEL:
        finding = f"No evidence that units are {score.higher} than rotations, or less so"
    else:
        finding = f"Units are {score.higher if above else _less(score.higher)} than rotations"
    return f"{finding}: {figures}, {label} = {p:.3g} ({rotations}, {made_of}; {_limit(test)})."


def _limit(test: RotationTest) -> str:
    """What the test could have found, in a clause."""
    if test.detectable_effect is not None:
        before = "" if test.p_holm is None else " before the correction"
        return f"smallest detectable effect {test.detectable_effect:.1f}{before}"
    if not test.null_sd and test.rotations > 1:
        return "all rotations gave one value"
    return f"{_counted(test.rotations, 'rotation')} {'is' if test.rotations == 1 else 'are'} too few for any finding"


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _less(higher: str) -> str:
    comparatives = {
        "detectors of more": "detectors of fewer",
        "purer": "less pure",
        "heavier-tailed": "lighter-tailed",
        "easier": "harder",
        "more": "less",
    }
    for word, opposite in comparatives.items():
        if higher.startswith(word):
            return opposite + higher[len(word) :]
    return f"not {higher}"
