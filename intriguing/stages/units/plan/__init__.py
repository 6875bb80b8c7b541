"""The tasks of the unit question (section 3): activations, scans, top inputs, tests."""

import logging
from collections.abc import Iterator

from intriguing.engine.task import Task
from intriguing.stages.common.planned import check_counts, too_many
from intriguing.stages.common.stage import Sweep
from intriguing.stages.units.plan.networks import Study
from intriguing.stages.units.plan.rotation_tests import rotation_tests
from intriguing.stages.units.plan.scans import scans
from intriguing.stages.units.spec import UnitsSpec

log = logging.getLogger(__name__)
_TIMES = 10
"""How many times k inputs there should be: as purity asks for."""


def plan(section: UnitsSpec, sweep: Sweep) -> Iterator[Task]:
    """Collect, scan, score and test the layers that the spec names, for every model.

    Raises:
        SpecError: a data set lacks the split, or has fewer inputs than are asked for.
    """
    _check(section, sweep)
    study = Study(section, sweep)
    networks = study.networks()
    for network in networks:
        yield from scans(study, network)
    yield from rotation_tests(study, networks)


def _check(section: UnitsSpec, sweep: Sweep) -> None:
    for dataset in sweep.datasets.values():
        check_counts("units", dataset, section.split, {"rows": section.rows or 0})
        rows = section.rows or dataset.sizes[section.split]
        if section.k > rows:
            raise too_many("units.k", section.k, dataset, section.split, rows)
        # A test warns by itself, of what each of its scores asks for.
        if section.reduce != "positions" and not section.rotations and rows < _TIMES * section.k:
            log.warning(
                "units.k = %d of %d inputs of %r: directions then have most top inputs in common, whatever they stand "
                "for. Take k = %d, or more inputs.",
                section.k,
                rows,
                dataset.name,
                max(rows // _TIMES, 1),
            )
