"""Hold a spec against the outside world: files, data sets, environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from intriguing.stages import STAGES
from intriguing.stages.common.stage import Outside
from intriguing.sweep.spec import Spec, section_of, with_section


@dataclass(frozen=True)
class ResolvedSpec:
    """A spec whose files are known: the spec (without what is not there), each stage's facts, and what was followed."""

    spec: Spec
    facts: Mapping[str, Any]
    environment: Mapping[str, str]


def resolve(spec: Spec, outside: Outside) -> ResolvedSpec:
    """Let every stage look at what its section names.

    Raises:
        IntriguingError: something is missing or cannot be used; the message names the key.
    """
    facts: dict[str, Any] = {}
    environment: dict[str, str] = {}
    for stage in STAGES:
        section = section_of(spec, stage)
        if stage.resolve is None or section is None:
            continue
        resolved = stage.resolve(section, outside)
        spec = with_section(spec, stage, resolved.section)
        facts[stage.name] = resolved.facts
        environment |= resolved.environment
    return ResolvedSpec(spec, facts, environment)
