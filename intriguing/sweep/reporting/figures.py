"""All figures of a run, by name: `run.figures`, and `intriguing report RUN --figures FOLDER`."""

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from intriguing.basics.folders.files import at_home, check_can_write, writing
from intriguing.errors import UnknownNameError, unknown_name
from intriguing.report.named_figures import Choice, NamedFigure
from intriguing.results import Run
from intriguing.stages import STAGES

_FORMS = ("pdf", "png")
_DPI = 200


class Figures:
    """The figures of a run, each a function that returns matplotlib axes.

        import intriguing as ig
        run = ig.open_run("outputs/demo")
        axes = run.figures.distortions(target_rule="untargeted")
        axes[0].figure.savefig("distortions.pdf")

    Every figure takes what the run leaves open (dataset, model, target_rule, grade, ...) by name; `choices` lists it.
    It returns the axes of its panels, in order, as an array. Raises `InputError`, listing the choices, where none or
    several fit.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    @cached_property
    def _named(self) -> Mapping[str, NamedFigure]:
        return {figure.name: figure for stage in STAGES for figure in stage.named_figures()}

    def __repr__(self) -> str:
        return f"Figures({', '.join(self._named)})"

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._named]

    def __getattr__(self, name: str) -> Callable[..., np.ndarray]:
        if name.startswith("_"):
            raise AttributeError(name)
        figure = self._find(name)

        def draw(**given: object) -> np.ndarray:
            return np.array([axes for axes in figure.of(self._run, given).axes if axes.get_visible()], dtype=Axes)

        draw.__name__, draw.__doc__ = name, figure.sentence
        return draw

    def _find(self, name: str) -> NamedFigure:
        if name not in self._named:
            raise NoFigureError(str(unknown_name("figure", name, self._named)))
        return self._named[name]

    def names(self) -> dict[str, str]:
        """The figures that the run has data for, with a sentence on each."""
        return {name: figure.sentence for name, figure in self._named.items() if figure.choices(self._run)}

    def choices(self, name: str) -> list[Choice]:
        """Everything that the figure `name` can be drawn of."""
        return list(self._find(name).choices(self._run))

    def save(self, folder: str | Path) -> list[Path]:
        """Write every figure of every choice as PDF and PNG into `folder`, which is made; the files' paths.

        Raises `StoreError` where it cannot be written.
        """
        root = at_home(folder)
        written: dict[Path, None] = {}
        with writing(root, "Choose another folder for the figures."):
            root.mkdir(parents=True, exist_ok=True)
            check_can_write(root)
            for figure in self._named.values():
                for choice in figure.choices(self._run):
                    drawn = figure.of(self._run, choice)
                    stem = _stem(figure.name, choice, {path.stem for path in written})
                    for form in _FORMS:
                        path = root / f"{stem}.{form}"
                        drawn.savefig(path, dpi=_DPI, bbox_inches="tight")
                        written[path] = None
        return list(written)


class NoFigureError(UnknownNameError, AttributeError):
    """There is no figure of that name. An AttributeError, so that hasattr() and getattr() with a default work."""


def _stem(name: str, choice: Choice, taken: set[str]) -> str:
    """A file's name without its ending: letters, digits, dots and hyphens, and short, whatever models are called."""
    parts = [re.sub(r"[^A-Za-z0-9.-]+", "_", str(value)).strip("_.")[:40] for value in choice.values()]
    stem = "-".join([name, *(part for part in parts if part)])[:150]
    number, free = 2, stem
    while free in taken:
        number, free = number + 1, f"{stem}-{number}"
    return free
