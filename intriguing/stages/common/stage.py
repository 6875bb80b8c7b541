"""A stage: one question of the paper, from its section of the spec to its part of the page."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from intriguing.engine.task import Code, Task
from intriguing.stages.common.compute import ComputeSpec
from intriguing.stages.common.parameters import TaskFunction
from intriguing.stages.common.planned import PlannedDataset, PlannedModel
from intriguing.stages.common.section import Section

if TYPE_CHECKING:
    from intriguing.report import Context, PagePart, Verdict
    from intriguing.report.named_figures import NamedFigure
    from intriguing.report.room import Explorer
    from intriguing.results import Run

T = TypeVar("T")


@dataclass(frozen=True)
class Outside:
    """Where a stage looks for what the spec names: the data folder, and the environment variables.

    seconds: how long a user's own code may take to make a data set.
    """

    root: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 3_600.0


@dataclass(frozen=True)
class Inspection:
    """What a stage learnt when it looked at the files that its section names.

    `section` may be another than the spec's (an optional data set is missing); `files` is what the stage's plan must
    know of them; `environment` are the variables that were followed, which the command that continues a run repeats.
    """

    section: Any
    files: Any = None
    environment: Mapping[str, str] = field(default_factory=dict)


class Sweep:
    """What a stage's plan knows besides its own section: seed, compute, data sets, and what earlier stages planned.

    `files` is what the stage's own `inspect` learnt. A stage adds what later stages build on:
    ``sweep.add(PlannedModel(...))``.
    """

    def __init__(self, seed: int, compute: ComputeSpec) -> None:
        self.seed = seed
        self.compute = compute
        self.files: Any = None
        self._planned: dict[type, list[Any]] = {}

    def add(self, planned: object) -> None:
        """Make `planned` (a data set, a model, a search, ...) known to the stages that follow."""
        self._planned.setdefault(type(planned), []).append(planned)

    def all(self, kind: type[T]) -> list[T]:
        """Everything of this kind that was added so far."""
        return list(self._planned.get(kind, ()))

    @property
    def datasets(self) -> dict[str, PlannedDataset]:
        """The data sets by name."""
        return {dataset.name: dataset for dataset in self.all(PlannedDataset)}

    @property
    def models(self) -> list[PlannedModel]:
        """The models: those of the spec in its order, then those that stages added."""
        return self.all(PlannedModel)


@dataclass(frozen=True)
class Stage:
    """A stage, as its folder's `__init__.py` puts it together; `intriguing/stages/__init__.py` lists all of them.

    name: the stage's key in a spec. section: the class of its section (None: the stage has none, and is always
    planned). at_top: whether the section's fields stand at the top of the spec, not under the name.
    plan: the code of a function (section, sweep) -> its tasks, without torch, imported only for a plan.
    functions: its task functions.
    inspect: likewise a function (section, outside) -> what the plan must know of files, as an `Inspection`.
    agree(section, spec): raises ValueError where the section does not go with the rest of the spec.
    check_model: the code of a function (section, network, shape, slots, name, layers) that raises before any work where
    the stage can do nothing with a network; name and layers are the model's in the spec.
    stored_bytes: likewise a function (task, units of each layer of its model) -> bytes that a task of the stage stores
    beside `task.size`, for a dry run.
    drawn: the code of a function () -> the stage's figures of a run, as `NamedFigure`: `run.figures` has them by name.
    page: the code of a function (context) -> the stage's parts of the page, imported only for a page.
    headline: likewise a function (context) -> figures for the top of the page, as (figure, what it is).
    notes: likewise a function (context) -> sentences that should be known before the run's answers are read.
    verdicts: likewise a function (context) -> what the run answers, as a list of `Verdict`: the page opens with them.
    printed: likewise a function (run) -> what a person wants to see of the stage's results, as text for a terminal
    (`intriguing show RUN NAME`, under the stage's name or a name of `also`).
    tables: where the stage's results stand: a program that asks for it gets the rows of the first that a run has.
    question: how important what it answers is, 0 first: in this order a page opens with the verdicts.
    """

    name: str
    plan: Code | None = None
    functions: tuple[TaskFunction[Any], ...] = ()
    section: type[Section] | None = None
    at_top: bool = False
    inspect: Code | None = None
    agree: Callable[[Any, Any], None] | None = None
    check_model: Code | None = None
    stored_bytes: Code | None = None
    drawn: Code | None = None
    page: Code | None = None
    headline: Code | None = None
    notes: Code | None = None
    verdicts: Code | None = None
    printed: Code | None = None
    also: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    question: int = 9

    def tasks(self, section: Any, sweep: Sweep) -> Iterable[Task]:
        """The stage's tasks for its section of a spec."""
        return self.plan.load()(section, sweep) if self.plan else ()

    def page_parts(self, context: "Context") -> "list[PagePart | Explorer]":
        """The stage's parts of a run's page."""
        return list(self.page.load()(context)) if self.page else []

    def headlines(self, context: "Context") -> list[tuple[str, str]]:
        """The stage's figures for the top of a run's page."""
        return list(self.headline.load()(context)) if self.headline else []

    def remarks(self, context: "Context") -> list[str]:
        """What should be known before the run's answers are read: the stage's notes at the top of its page."""
        return list(self.notes.load()(context)) if self.notes else []

    def named_figures(self) -> "list[NamedFigure]":
        """The stage's figures of a run, for papers."""
        return list(self.drawn.load()()) if self.drawn else []

    def answers(self, context: "Context") -> "list[Verdict]":
        """What the run answers to the stage's question."""
        return list(self.verdicts.load()(context)) if self.verdicts else []

    def text(self, run: "Run") -> str:
        """What `intriguing show` prints of the stage; "" where it has nothing to print."""
        return str(self.printed.load()(run)) if self.printed else ""
