"""Files of tables that a run wrote and that are there no longer."""

from collections.abc import Mapping

from intriguing.results.run import Run

_ENDING = len("0123456789abcdef.parquet")


def gaps(run: Run) -> list[str]:
    """A sentence for each table that lacks files of finished tasks: its rows, and what is read from them, lack a part.

    Told by names: of tables of many shards, which are compacted, nothing is told. Of a table that is gone as a whole
    nothing is said either: somebody may have wanted the room.
    """
    publish = run.plan.publish if run.plan else {}
    if not publish:  # the list of tasks of a large run takes long to read
        return []
    finished = _finished(run)
    wanted: dict[str, set[str]] = {}
    for task, outputs in publish.items():
        for folder in outputs.values() if task in finished else ():
            wanted.setdefault(folder, set()).add(finished[task][:16])
    sentences = []
    for table, fingerprints in wanted.items():
        names = [] if "/" in table else run.file_names(table)
        if not names or any(name.startswith("part-") for name in names):
            continue
        lacking = len(fingerprints - {name[-_ENDING:].removesuffix(".parquet") for name in names})
        if lacking:
            sentences.append(
                f"The table {table} lacks {lacking} of {len(fingerprints)} files, and answers lack their rows: "
                f"`intriguing verify {run.path}` names them, and the run's own command writes them again."
            )
    return sentences


def _finished(run: Run) -> Mapping[str, str]:
    """The tasks of the plan that were finished when a run ended last, with their fingerprints."""
    tasks = run.table("tasks", columns=["task", "fingerprint"]).to_pydict()
    here = run.plan.fingerprints if run.plan else {}
    done = zip(tasks["task"], tasks["fingerprint"], strict=True)
    return {task: fingerprint for task, fingerprint in done if here.get(task) == fingerprint}
