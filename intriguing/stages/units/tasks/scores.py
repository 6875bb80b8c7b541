"""The scores that a layer is tested by: each metric by each judge, and with shuffled labels.

Shuffled labels and the second judge reuse the projections of the trained labels, so each basis is projected once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from intriguing.stages.units.names import ENCODER, PIXELS, SHUFFLED, TRAINED
from intriguing.stages.units.tasks.test_inputs import TestInputs
from intriguing.units.judges import unit_rows
from intriguing.units.metrics import Inputs, Metric, View, metrics


@dataclass(frozen=True)
class Score:
    """A score that is tested: what it is called in the tables, and how it is computed."""

    control: str
    metric: str
    computed: Metric


def scores_of(inputs: TestInputs, names: Sequence[str], k: int, seed: int, shuffled: bool) -> list[Score]:
    """The scores called `names`: those that need a judge once for each judge, those that need labels also `shuffled`.

    A judge other than the first lends its name to the metric: `interpretability_pixels`.
    """
    scores = []
    for metric in metrics(names, k=k):
        if "judge" not in metric.needs:
            scores.append(Score(TRAINED, metric.name, metric))
        for judge in (ENCODER, PIXELS) if "judge" in metric.needs else ():
            name = metric.name if judge == ENCODER else f"{metric.name}_{judge}"
            if judge in inputs.judges:
                looked = _looked(metric, name, judge, _judged(inputs.judges[judge]))
                scores.append(Score(TRAINED, name, looked))
    if shuffled:
        for metric in metrics(names, k=k):
            if "labels" in metric.needs:
                looked = _looked(metric, f"{SHUFFLED} {metric.name}", SHUFFLED, lambda inputs: inputs.shuffled(seed))
                scores.append(Score(SHUFFLED, metric.name, looked))
    return scores


def _looked(metric: Metric, name: str, kind: str, change: Callable[[Inputs], Inputs]) -> Metric:
    """`metric`, called `name`, of the same basis with inputs of another `kind`: their labels or judge changed."""

    def looking(score: Callable[[View], np.ndarray]) -> Callable[[View], np.ndarray]:
        def looked(view: View) -> np.ndarray:
            # What is made once stays with the inputs that it was made of, and goes with them.
            changed = vars(view.inputs).setdefault("changed", {})
            if kind not in changed:
                changed[kind] = change(view.inputs)
            return score(view.seen(changed[kind]))

        return looked

    halved = None if metric.halved is None else looking(metric.halved)
    return replace(metric, name=name, score=looking(metric.score), halved=halved)


def _judged(columns: slice) -> Callable[[Inputs], Inputs]:
    def change(inputs: Inputs) -> Inputs:
        assert inputs.judge is not None
        return replace(inputs, judge=unit_rows(inputs.judge[:, columns]))

    return change
