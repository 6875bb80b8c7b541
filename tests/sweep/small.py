"""A sweep that is small enough to run many times: real digits, two models, every stage."""

import os
import subprocess
import sys
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from intriguing.tables import TABLES

SMALL: dict[str, Any] = {
    "name": "small",
    "datasets": {"mnist-sample": {}},
    "models": {
        "softmax": {"layers": ["logits"], "training": {"epochs": 2}},
        "007": {
            "architecture": "mlp",
            "layers": ["hidden1", "hidden2"],
            "options": {"hidden": [16, 12]},
            "training": {"epochs": 2},
        },
    },
    "units": {"k": 5, "rows": 300},
    "blind_spots": {"images": 10, "grade": "fast"},
    "transfer": {"kinds": ["minimal", "amplified", "gaussian"]},
    "compute": {"slots": 32, "rows_per_shard": 150, "searches_per_shard": 6},
}


def toml(spec):
    """`spec` as TOML: nested tables by dotted, quoted keys."""
    lines: list[str] = []

    def walk(prefix, value):
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                walk(f'{prefix}."{name}"' if prefix else f'"{name}"', inner)
        else:
            text = "{}" if isinstance(value, dict) else str(value).replace("'", '"')
            lines.append(f"{prefix} = " + (text if not isinstance(value, str) else f'"{value}"'))

    walk("", spec)
    return "\n".join(lines) + "\n"


def command(*arguments):
    return [sys.executable, "-m", "intriguing", *arguments]


def call(*arguments, **options):
    """Run the command line in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | options.pop("env", {})
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment, timeout=200, **options)


def tables_of(run):
    """Every table of a run but `tasks`, sorted by its primary key; one entry per stored layer."""
    found = {}
    for folder in sorted({p.parent for p in (run / "tables").rglob("*.parquet")}):
        name = folder.relative_to(run / "tables").parts[0]
        if name != "tasks":
            frame = pq.read_table(folder).to_pandas()
            found[str(folder.relative_to(run / "tables"))] = frame.sort_values(
                list(TABLES[name].key), ignore_index=True
            )
    return found


def assert_equal_tables(one, other, least=8):
    """Same keys; integers, strings and floats all equal, floats bit by bit."""
    first, second = tables_of(one), tables_of(other)
    assert first.keys() == second.keys()
    assert len(first) >= least
    for name, frame in first.items():
        pd.testing.assert_frame_equal(frame, second[name], check_exact=True, obj=name)
