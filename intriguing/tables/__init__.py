"""The tables of a run: one schema each, with a sentence and a unit per field, and the primary key.

Rows carry their keys; nothing is coded in a path, and no type is inferred. `intriguing show --schema TABLE` prints one.
The primary key is in the schema's metadata under ``primary_key`` (JSON), the sentences under each field's ``doc``.
"""

from intriguing.basics.table import Table
from intriguing.errors import unknown_name
from intriguing.tables.blind_spots import ADVERSARIAL, CERTIFICATES, DISTORTIONS, OPERATOR_NORMS
from intriguing.tables.hardening import HARDENING, HARDENING_CLAIMS
from intriguing.tables.inputs import ACTIVATIONS, EXAMPLES, MODELS, SKIPPED, activations
from intriguing.tables.run import FAILURES, TASKS
from intriguing.tables.transfer import PAPER_CLAIMS, PAPER_COMPARISON, RAYS, TRANSFER
from intriguing.tables.units import MODEL_OR_DATA, RECEPTIVE_FIELDS, ROTATION_TESTS, TOPK, UNIT_HISTOGRAMS, UNIT_SCORES
from intriguing.tables.words import WORD_NORMS, WORD_ROWS, WORD_TESTS, WORD_VECTORS, WORD_VERDICTS

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        EXAMPLES,
        MODELS,
        SKIPPED,
        ACTIVATIONS,
        TOPK,
        RECEPTIVE_FIELDS,
        UNIT_SCORES,
        UNIT_HISTOGRAMS,
        ROTATION_TESTS,
        MODEL_OR_DATA,
        DISTORTIONS,
        ADVERSARIAL,
        OPERATOR_NORMS,
        CERTIFICATES,
        TRANSFER,
        RAYS,
        PAPER_COMPARISON,
        PAPER_CLAIMS,
        WORD_ROWS,
        WORD_TESTS,
        WORD_VERDICTS,
        WORD_VECTORS,
        WORD_NORMS,
        TASKS,
        FAILURES,
        HARDENING,
        HARDENING_CLAIMS,
    )
}
"""Every table by name, in the order in which they are shown."""

__all__ = [
    "ACTIVATIONS",
    "ADVERSARIAL",
    "CERTIFICATES",
    "DISTORTIONS",
    "EXAMPLES",
    "FAILURES",
    "HARDENING",
    "HARDENING_CLAIMS",
    "MODELS",
    "MODEL_OR_DATA",
    "OPERATOR_NORMS",
    "PAPER_CLAIMS",
    "PAPER_COMPARISON",
    "RAYS",
    "RECEPTIVE_FIELDS",
    "ROTATION_TESTS",
    "SKIPPED",
    "TABLES",
    "TASKS",
    "TOPK",
    "TRANSFER",
    "UNIT_HISTOGRAMS",
    "UNIT_SCORES",
    "WORD_NORMS",
    "WORD_ROWS",
    "WORD_TESTS",
    "WORD_VECTORS",
    "WORD_VERDICTS",
    "activations",
    "named",
]


def named(name: str) -> Table:
    """The table called `name`; raises `UnknownNameError` with the nearest names."""
    if name not in TABLES:
        raise unknown_name("table", name, TABLES)
    return TABLES[name]
