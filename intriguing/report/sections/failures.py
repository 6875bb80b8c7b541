"""Tasks that gave up, at the top of the page."""

from intriguing.report.section import Context, Section, render

_SHOWN = 20


def section(context: Context) -> Section | None:
    """The failed tasks with their errors and the command that tries again; None when nothing failed."""
    rows = context.run.table("failures").to_pylist()
    if not rows:
        return None
    done = context.run.table("tasks", columns=["seconds"]).num_rows
    unfinished = max(0, context.run.tasks - done - len(rows))
    html = render("failures.html", rows=rows[:_SHOWN], total=len(rows), unfinished=unfinished)
    return Section("failures", "Failures", html)
