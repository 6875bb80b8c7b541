"""Tasks that gave up, at the top of the page."""

from intriguing.report.parts import Context, PagePart, render

_SHOWN = 20


def part(context: Context) -> PagePart | None:
    """The failed tasks with their errors and the command that tries again; None when nothing failed."""
    rows = context.run.table("failures").to_pylist()
    if not rows:
        return None
    done = context.run.table("tasks", columns=["seconds"]).num_rows
    unfinished = max(0, context.run.tasks - done - len(rows))
    html = render("stages/run/page/failures.html", rows=rows[:_SHOWN], total=len(rows), unfinished=unfinished)
    return PagePart("failures", "Failures", html)
