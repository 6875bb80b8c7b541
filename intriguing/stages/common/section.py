"""What all sections of a spec share."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1, max_length=300)]
"""A name of the user's choice."""


class Section(BaseModel):
    """A part of a spec: frozen. An unknown key is an error, as is a value of another type: `"16"`, `true` or `16.0` for
    16 (a whole number will do for a number).
    """

    # Schemas are built when one is first needed: who shows a run needs none.
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    distinct: ClassVar[tuple[str, ...]] = ()
    """The keys whose lists hold each value once, since each of them is a task of its own."""

    @model_validator(mode="after")
    def _each_once(self) -> "Section":
        for key in self.distinct:
            values = getattr(self, key) or []
            if twice := [value for place, value in enumerate(values) if value in values[:place]]:
                raise ValueError(f"{key}: {twice[0]!r} stands there twice; write it once")
        return self


def as_toml(value: Any) -> Any:
    """`value` as TOML would hold it: tuples as lists, NumPy's numbers as Python's, paths as text."""
    if isinstance(value, Mapping):
        return {key: as_toml(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_toml(inner) for inner in value]
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, PurePath) else value


def needs_models(section: str, spec: Any) -> None:
    """Raise ValueError where `spec` has a `section` that asks something of models, and names none."""
    if not spec.models:
        raise ValueError(
            f"{section}: the section asks of models, and the spec names none; add [models.NAME] with its architecture"
        )
