"""The run itself on the page: what failed, and what was run."""

from intriguing.report import Context, PagePart
from intriguing.report.text import count
from intriguing.stages.run.page import failures, left_out, overview


def parts(context: Context) -> list[PagePart]:
    """The stage's parts of the page: those that have something to show."""
    parts_or_none = (failures.part(context), left_out.part(context), overview.part(context))
    return [part for part in parts_or_none if part is not None]


def headline(context: Context) -> list[tuple[str, str]]:
    """How much of the run is done, where it is not finished."""
    done, tasks = context.run.table("tasks", columns=["seconds"]).num_rows, context.run.tasks
    return [(f"{count(done)} / {count(tasks)}", "tasks done: the run is not finished")] if done < tasks else []
