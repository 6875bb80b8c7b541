"""The grades of a search: all that is known of each, in one entry."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How long the stages of a grade are."""

    ticks: int
    """Evaluations of the first start, whose steps are long."""
    steps: int
    """Gradients of a finish, at most."""
    calmer: int
    """Evaluations of a second start, whose steps are shorter: another chance to meet the right basin. 0 for none."""
    elsewhere: int
    """The same for rows that want any of several classes; it leaves out the class that the first has found."""
    penalised: int
    """Evaluations of the second start of examples that came to no rest in the first, or to no success."""
    near: float
    """Untargeted: classes whose start ends within this factor of the nearest one are finished."""


@dataclass(frozen=True)
class Grade:
    """A way to search."""

    name: str
    sentence: str
    """What it is good for."""
    separate: bool
    """Untargeted: the nearest wrong classes are searched one by one; otherwise one search wants any of them."""
    exact: bool
    """A model that is linear by its structure is solved exactly."""
    recipe: Recipe | None
    """Its stages; None: the paper's procedure and nothing else, which finds the penalty c itself. With a recipe, c is
    the one at which loss and penalty balance along the change that was found."""


GRADES = {
    grade.name: grade
    for grade in (
        Grade(
            "best",
            "nearest to the optimum",
            separate=True,
            exact=True,
            recipe=Recipe(ticks=28, steps=20, calmer=12, elsewhere=0, penalised=40, near=1.25),
        ),
        Grade(
            "fast",
            "a quick approximation",
            separate=False,
            exact=True,
            recipe=Recipe(ticks=20, steps=7, calmer=0, elsewhere=8, penalised=40, near=1.0),
        ),
        Grade(
            "faithful",
            "the paper's procedure and nothing else",
            separate=False,
            exact=False,
            recipe=None,
        ),
    )
}
