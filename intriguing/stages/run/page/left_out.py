"""What a run left out, in the open: images, searches, words, and tasks that are not done."""

import json

from intriguing.report.parts import Context, PagePart, Row, render
from intriguing.report.text import count, plural

_SKIPPED = """
select dataset, model, model_seed, reason, count(*) as images, min(example_id) as first
from skipped group by all order by dataset, model, model_seed, images desc, reason"""
_UNSEARCHED = """
select status, count(*) as searches from distortions
where status not in ('found', 'misclassified', 'not_found') group by all order by searches desc"""
_REASONS = 20


def part(context: Context) -> PagePart | None:
    """What was left out and why; None where nothing was."""
    skipped = context.query(_SKIPPED)
    lines = [*_tasks(context), *_searches(context), *_rows(context), *_words(context)]
    if not skipped and not lines:
        return None
    html = render(
        "stages/run/page/left_out.html",
        lines=lines,
        skipped=[row | {"name": context.label(row)} for row in skipped[:_REASONS]],
        several=len({row["dataset"] for row in skipped}) > 1,
        reasons=len(skipped),
        left_out=sum(row["images"] for row in skipped),
    )
    return PagePart("left-out", "What was left out", html)


def _tasks(context: Context) -> list[str]:
    """Tasks that gave up, and those that wait for what these should have made or were not reached."""
    run = context.run
    failed, done = (run.table(name, columns=["task"]).num_rows for name in ("failures", "tasks"))
    waiting = run.tasks - done - failed
    lines = [f"{plural(failed, 'task')} gave up: see Failures."] if failed else []
    if waiting > 0:
        why = "blocked by those, or not reached yet" if failed else "not reached yet"
        lines.append(f"{plural(waiting, 'task')} of {count(run.tasks)} not done: {why}.")
    return lines


def _searches(context: Context) -> list[str]:
    return [
        f"{plural(row['searches'], 'search')} not made ({row['status'].replace('_', ' ')}): no sign of robustness."
        for row in context.query(_UNSEARCHED)
    ]


def _rows(context: Context) -> list[str]:
    """Inputs that were not scanned or not tested, because the spec asks for fewer."""
    section = context.run.section("units")
    split = section.get("split", "test")
    sizes = context.query(
        "select dataset, count(*) as n from examples where split = ? group by all order by all", split
    )
    lines = []
    for row in sizes:
        scanned = min(section.get("rows") or row["n"], row["n"])
        if section and scanned < row["n"]:
            left = row["n"] - scanned
            which = f"{plural(left, 'image')} of the {split} split of {row['dataset']}"
            lines.append(f"{which} not scanned (rows of [units] in the spec).")
        tested = min(section.get("tested_rows", 10_000), scanned)
        if section.get("rotations") and tested < scanned:
            more = scanned - tested
            which = f"{plural(more, 'scanned image')} of {row['dataset']}"
            lines.append(f"{which} not in the tests (tested_rows of [units] in the spec).")
    return lines


def _words(context: Context) -> list[str]:
    """Words that no judge knows, and what was skipped while reading text."""
    lines = []
    for key, rows in context.grouped(context.run.table("word_vectors").to_pylist(), "corpus"):
        most: Row = max(rows, key=lambda row: row["unjudged_words"])
        if most["unjudged_words"]:
            words = f"{plural(most['unjudged_words'], 'word')} of {count(most['words'])}"
            lines.append(f"{words} of {key['corpus']} in no top list: too rare to be judged.")
        skipped = {what: n for row in rows for what, n in json.loads(row["skipped"]).items() if n}
        lines += [f"{count(n)} {what.replace('_', ' ')} skipped in {key['corpus']}." for what, n in skipped.items()]
    return lines
