"""The properties of each score of a direction, apart from its formula. Does not import torch, as specs and plans read
it.

A new score is an entry in `METRICS`, and a formula of the same name in `intriguing.units.scoring.metrics`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from intriguing.errors import check_names
from intriguing.stats.findings import Wording
from intriguing.stats.halves import half_list


@dataclass(frozen=True)
class Depth:
    """How many inputs the scores use."""

    k: int = 16
    """The top inputs behind purity, entropy, enrichment, unique classes and the intruder test."""
    tasks: int = 20
    """Tasks of the interpretability score."""
    references: int = 9
    """References at either end in each task."""
    draws: int = 20
    """Intruders per direction."""

    def halved(self) -> "Depth":
        """The depth that is the same share of half of the inputs."""
        return replace(self, k=half_list(self.k), tasks=max(self.tasks // 2, 1))


@dataclass(frozen=True)
class Metric:
    """A score of a direction, or of a whole basis."""

    name: str
    """Its name in tables and specs."""
    sentence: str
    """What it measures."""
    higher: str
    """What a higher value means: "units are [purer] than rotations"."""
    lower: str
    """What a lower value means."""
    needs: tuple[Literal["labels", "judge"], ...] = ()
    """The parts of `Inputs` that it needs."""
    symmetric: bool = False
    """Whether v and -v have the same score; then only e_1, e_2, ... are tested, not -e_1, -e_2, ..."""
    from_top: bool = False
    """Whether it uses a fixed number of extreme inputs instead of all inputs."""
    least: Callable[[Depth], int] = lambda depth: 2
    """Smallest number of inputs, at a depth."""
    halving: Literal["same", "shallower", "scaled"] = "same"
    """The score for a random half of the inputs. same: unchanged. shallower: at `Depth.halved()`, the same share of the
    inputs. scaled: that times the ratio of the two K, for a score that grows with K."""
    from_scan: bool = False
    """Whether a scan computes it for every direction, from the top K of all rows."""
    of_basis: bool = False
    """Whether it is one number per basis."""

    @property
    def judged(self) -> bool:
        """Whether it needs a judge; then there is one score and one test per judge."""
        return "judge" in self.needs

    @property
    def from_inputs(self) -> bool:
        """Whether the score of a single direction is computed from the tested inputs."""
        return not self.from_scan and not self.of_basis

    def least_tested(self, least: int) -> int:
        """Smallest number of inputs for a test of a score that takes `least`: ten times the top K, at least 100."""
        return max(10 * least if self.from_top else 100, least)

    def wording(self, judge: str | None = None) -> Wording:
        """The words for the outcome of its test; the first judge, "encoder", is not mentioned."""
        by = "" if judge in (None, "", "encoder") else f" (judged by {judge})"
        return Wording(self.higher + by, self.lower + by)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "purity",
            "The share of the commonest class among the top K.",
            "purer",
            "less pure",
            needs=("labels",),
            from_top=True,
            least=lambda depth: depth.k,
            halving="shallower",
            from_scan=True,
        ),
        Metric(
            "entropy",
            "The entropy of the classes among the top K: 0 for one class, 1 for all alike.",
            "more mixed",
            "less mixed",
            needs=("labels",),
            from_top=True,
            least=lambda depth: depth.k,
            halving="shallower",
            from_scan=True,
        ),
        Metric(
            "enrichment",
            "-log10 of the chance that a random K holds as many of a class, corrected over the classes.",
            "more enriched in a class",
            "less enriched in a class",
            needs=("labels",),
            from_top=True,
            least=lambda depth: depth.k,
            halving="scaled",
        ),
        Metric(
            "unique_classes",
            "How many classes are the most enriched one of some direction of a basis.",
            "detectors of more classes",
            "detectors of fewer classes",
            needs=("labels",),
            from_top=True,
            least=lambda depth: depth.k,
            of_basis=True,
        ),
        Metric(
            "auroc",
            "max over the classes of |2 AUROC - 1|: how well the projection tells a class from the rest.",
            "more selective",
            "less selective",
            needs=("labels",),
            symmetric=True,
        ),
        Metric(
            "interpretability",
            "How often a judge tells which of two inputs belongs to the direction's upper end.",
            "easier for the judge to explain",
            "harder for the judge to explain",
            needs=("judge",),
            symmetric=True,
            from_top=True,
            least=lambda depth: 4 * (depth.references + 1),
            halving="shallower",
        ),
        Metric(
            "intruder",
            "How often a judge finds the input that does not belong among the top K.",
            "easier to tell from an intruder",
            "harder to tell from an intruder",
            needs=("judge",),
            from_top=True,
            least=lambda depth: 2 * depth.k,
            halving="shallower",
        ),
        Metric(
            "kurtosis",
            "E[(h - mu)^4] / Var^2 of the projection: 3 for a Gaussian.",
            "heavier-tailed",
            "lighter-tailed",
            symmetric=True,
        ),
    )
}
"""The scores by name, in the order that tables and pages list them."""


def metrics_named(names: Sequence[str] | None = None) -> list[Metric]:
    """The metrics called `names`, all of them by default; raises `UnknownNameError` for another name."""
    check_names("score", names or (), METRICS)
    return [METRICS[name] for name in (METRICS if names is None else names)]
