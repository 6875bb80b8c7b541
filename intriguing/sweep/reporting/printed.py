"""What `intriguing show` prints of a run: its answers, and what each stage prints of its results."""

from intriguing.report import Context, Verdict, said_once
from intriguing.results import Run
from intriguing.stages import STAGES
from intriguing.tables import TABLES

_BY_NAME = {name: stage for stage in STAGES if stage.printed for name in (stage.name, *stage.also)}


def names() -> list[str]:
    """The names under which a stage's results can be printed, in the order of the stages."""
    return list(_BY_NAME)


def stage_text(run: Run, name: str) -> str | None:
    """What the stage of this name prints of a run: "" where the run has nothing of it, None where no stage has it."""
    stage = _BY_NAME.get(name)
    return None if stage is None else stage.text(run)


def table_of(run: Run, name: str) -> str:
    """The table whose rows a program gets for a stage's `name`: the first of its tables that the run has; else `name`.

    A name that is a table's own means that table.
    """
    stage = _BY_NAME.get(name)
    if stage is None or not stage.tables or name in TABLES:
        return name
    present = run.tables()
    return next((table for table in stage.tables if table in present), stage.tables[0])


def printed_stages(run: Run) -> list[str]:
    """The stages of which a run has something to print: those with rows in a table of theirs."""
    return [stage.name for stage in STAGES if stage.printed and any(map(run.has_rows, stage.tables))]


def verdicts(run: Run) -> list[Verdict]:
    """What the run answers, the most important question first. A stage that the run has no table of is not imported."""
    context, present = Context(run), set(run.tables())
    asked = [stage for stage in STAGES if present & set(stage.tables)]
    return [v for stage in sorted(asked, key=lambda stage: stage.question) for v in stage.answers(context)]


def notes(run: Run) -> list[str]:
    """What should be known before the run's answers are read, such as a model that is right by chance alone."""
    context = Context(run)
    return [note for stage in STAGES if stage.notes for note in stage.remarks(context)]


def verdicts_text(run: Run) -> str:
    """What the run answers, a paragraph per verdict; "" where it answers nothing."""
    return "\n".join(verdict.text() for verdict in said_once(verdicts(run)))
