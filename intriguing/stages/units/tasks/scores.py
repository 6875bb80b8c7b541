"""The scores that a layer is tested by: each metric by each judge, and with shuffled labels.

Shuffled labels and the second judge reuse the projections of the trained labels, so each basis is projected once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from intriguing.stages.units.names import ENCODER, PIXELS, SHUFFLED, TRAINED
from intriguing.stages.units.tasks.tested_inputs import TestedInputs
from intriguing.units.scoring.judges import unit_rows
from intriguing.units.scoring.metrics import Scorer, scorers
from intriguing.units.scoring.scores import Depth
from intriguing.units.scoring.views import Inputs, View


@dataclass(frozen=True)
class Score:
    """A score that is tested: what it is called in the tables, and how it is computed.

    The computed scorer has a name of its own for each judge and control: it is the column of the null's table.
    """

    control: str
    computed: Scorer
    judge: str | None = None

    @property
    def metric(self) -> str:
        """What the tables call the score."""
        return self.computed.metric.name


def scores_of(inputs: TestedInputs, names: Sequence[str], k: int, seed: int, shuffled: bool) -> list[Score]:
    """The scores called `names`: judged ones once for each judge, those that need labels also `shuffled`."""
    scores = []
    for scorer in scorers(names, Depth(k=k)):
        if not scorer.metric.judged:
            scores.append(Score(TRAINED, scorer))
        for judge in (ENCODER, PIXELS) if scorer.metric.judged else ():
            if judge in inputs.judges:
                name = scorer.name if judge == ENCODER else f"{scorer.name}_{judge}"
                looked = _looked(scorer, name, judge, _judged(inputs.judges[judge]))
                scores.append(Score(TRAINED, looked, judge))
    if shuffled:
        for scorer in scorers(names, Depth(k=k)):
            if "labels" in scorer.metric.needs:
                looked = _looked(scorer, f"{SHUFFLED} {scorer.name}", SHUFFLED, lambda inputs: inputs.shuffled(seed))
                scores.append(Score(SHUFFLED, looked))
    return scores


def _looked(scorer: Scorer, name: str, kind: str, change: Callable[[Inputs], Inputs]) -> Scorer:
    """`scorer`, called `name`, of the same basis with inputs of another `kind`: their labels or judge changed."""

    def looking(score: Callable[[View], np.ndarray]) -> Callable[[View], np.ndarray]:
        return lambda view: score(view.with_inputs(view.inputs.variant(kind, change)))

    return replace(scorer, name=name, score=looking(scorer.score), score_half=looking(scorer.score_half))


def _judged(columns: slice) -> Callable[[Inputs], Inputs]:
    def change(inputs: Inputs) -> Inputs:
        assert inputs.judge is not None
        return replace(inputs, judge=unit_rows(inputs.judge[:, columns]))

    return change
