"""The grades of a search, with all their settings."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """The lengths of the solvers of a grade."""

    ticks: int
    """Evaluations of the first start, which makes long steps."""
    steps: int
    """Largest number of gradients of a finish."""
    calmer: int
    """Evaluations of a second start with shorter steps, which may find a better basin. 0: no second start."""
    elsewhere: int
    """The same for rows with several goals; the class that the first start reached is no longer a goal."""
    penalised: int
    """Evaluations of the second start of examples whose first start did not converge or found no success."""
    near: float
    """Untargeted: a class is finished if its start ends within this factor of the nearest class's distance."""


@dataclass(frozen=True)
class Grade:
    """One way to search."""

    name: str
    sentence: str
    """What it is good for."""
    separate: bool
    """Untargeted: whether the nearest wrong classes are searched one by one; else one search may reach any of them."""
    exact: bool
    """Whether a model that is linear by its structure is solved exactly."""
    recipe: Recipe | None
    """The solvers; None: the paper's procedure and nothing else, which determines the penalty c. With a recipe, c is
    computed afterwards: the one at which loss plus penalty is stationary along the change found."""


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
