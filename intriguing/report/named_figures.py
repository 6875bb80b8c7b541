"""What a figure is that goes by name: a function of a run, for papers, and the choices that it leaves open."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from intriguing.errors import InputError
from intriguing.report.media import for_paper
from intriguing.results import Run

Choice = Mapping[str, Any]


@dataclass(frozen=True)
class NamedFigure:
    """A figure: its name, a sentence on what it shows, what draws it, and what there is to draw.

    draw(run, **choice) gives the figure; choices(run) lists every choice that the run has data for, none where it has
    no data at all.
    """

    name: str
    sentence: str
    draw: Callable[..., Figure]
    choices: Callable[[Run], Sequence[Choice]]

    def of(self, run: Run, given: Choice) -> Figure:
        """The figure of the one choice that agrees with `given`; raises `InputError` where none or several do."""
        every = self.choices(run)
        unknown = given.keys() - {key for choice in every for key in choice}
        if every and unknown:
            known = ", ".join(sorted({key for choice in every for key in choice})) or "none"
            raise InputError(f"figures.{self.name} does not know {', '.join(sorted(unknown))}. It takes: {known}.")
        fitting = [choice for choice in every if all(choice[key] == value for key, value in given.items())]
        if len(fitting) != 1:
            problem = "Several fit" if fitting else "The run has nothing to draw" if not every else "None fits"
            listed = "; ".join(_written(choice) for choice in (fitting or every)[:8])
            more = f" Choose one of: {listed}." if listed else ""
            raise InputError(f"{problem} for figures.{self.name}({_written(given)}).{more}")
        return for_paper(self.draw, run, **fitting[0])


def _written(choice: Choice) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in choice.items())


def distinct(run: Run, table: str, *columns: str, where: str = "true") -> list[dict[str, Any]]:
    """The combinations of values that some columns of a table have: the choices of most figures."""
    found = run.own_query(f"select distinct {', '.join(columns)} from {table} where {where} order by all")
    return [{str(key): value for key, value in row.items()} for row in found.to_dict("records")]
