"""Files of tables that are there no longer are told, by their names."""

from types import SimpleNamespace

import pyarrow as pa

from intriguing.results.gaps import gaps


def told(names, finished=("a", "b"), planned=("a", "b")):
    """What is told of a table with files of these `names`; letters are fingerprints, of what ended and in the plan."""
    publish = {f"search/{i}": {"found": "distortions"} for i in range(len(planned))}
    tasks = {"task": [*publish], "fingerprint": [letter * 64 for letter in finished]}
    return gaps(
        SimpleNamespace(
            path="run",
            plan=SimpleNamespace(
                publish=publish, fingerprints={t: x * 64 for t, x in zip(publish, planned, strict=True)}
            ),
            table=lambda name, columns: pa.table(tasks).select(columns),
            file_names=lambda table: names,
        )
    )


FIRST, SECOND = (f"search-{i}-{letter * 16}.parquet" for i, letter in enumerate("ab"))


def test_a_file_of_a_finished_task_that_is_gone_is_counted():
    assert told([FIRST, SECOND]) == []
    [sentence] = told([FIRST])
    assert sentence.startswith("The table distortions lacks 1 of 2 files") and "`intriguing verify run`" in sentence


def test_nothing_is_told_of_a_table_that_is_gone_or_was_compacted():
    assert told([]) == told([FIRST, "part-00000-0123456789abcdef.parquet"]) == []


def test_a_task_that_was_planned_anew_since_the_last_end_lacks_nothing():
    assert told([FIRST], planned=("a", "c")) == []
