"""Look at what a spec names outside of itself: files, data sets, environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from intriguing.stages import STAGES
from intriguing.stages.common.stage import Inspection, Outside
from intriguing.sweep.spec import Spec, section_of, with_section


@dataclass(frozen=True)
class InspectedSpec:
    """A spec after the look: the spec without what is not there, what each stage learnt of its files (by the stage's
    name), and the environment variables that were followed.
    """

    spec: Spec
    files: Mapping[str, Any]
    environment: Mapping[str, str]


def inspect_spec(spec: Spec, outside: Outside) -> InspectedSpec:
    """Let every stage look at the files that its section names.

    Raises:
        IntriguingError: something is missing or cannot be used; the message names the key.
    """
    files: dict[str, Any] = {}
    environment: dict[str, str] = {}
    for stage in STAGES:
        section = section_of(spec, stage)
        if stage.inspect is None or section is None:
            continue
        inspection: Inspection = stage.inspect.load()(section, outside)
        spec = with_section(spec, stage, inspection.section)
        files[stage.name] = inspection.files
        environment |= inspection.environment
    return InspectedSpec(spec, files, environment)
