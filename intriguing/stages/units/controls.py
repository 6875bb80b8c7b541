"""Untrained controls that are one and the same network: those of weights files of one architecture and seed."""

from collections.abc import Iterable

from intriguing.report.parts import Context, Row
from intriguing.stages.units.names import FIGURES, RANDOM

_NAMED = 4
"""Models that are named."""


def distinct(tests: Iterable[Row]) -> list[Row]:
    """The tests of untrained networks, each network's once, under the name of the first model that has it."""
    return list({_figures(test): test for test in reversed(list(tests))}.values())[::-1]


def shared(context: Context, tests: Iterable[Row]) -> str:
    """A sentence on models whose untrained control is one network; "" where each has its own."""
    untrained = [test for test in tests if test["control"] == RANDOM and test["null_sd"]]
    groups: dict[frozenset[tuple[object, ...]], list[str]] = {}
    for key, rows in context.grouped(untrained, "dataset", "model", "model_seed"):
        groups.setdefault(frozenset(map(_figures, rows)), []).append(context.label(key))
    told = [f"{_listed(labels)} share one" for labels in groups.values() if len(labels) > 1]
    if not told:
        return ""
    return (
        f"Of the untrained networks ({RANDOM}), {'; '.join(told)}: they have the same architecture and seed, so that "
        "equal figures stand under each name, and are one control."
    )


def _figures(test: Row) -> tuple[object, ...]:
    return tuple(test[name] for name in FIGURES)


def _listed(labels: list[str]) -> str:
    if len(labels) > _NAMED:
        return f"{', '.join(labels[:_NAMED])} and {len(labels) - _NAMED} more"
    return f"{', '.join(labels[:-1])} and {labels[-1]}"
