"""What all sections of a spec share."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=300)]
"""A name of the user's choice."""


class Section(BaseModel):
    """A part of a spec: frozen. An unknown key is an error, as is a value of another type: `"16"`, `true` or `16.0` for
    16 (a whole number will do for a number).
    """

    # Schemas are built when one is first needed: who shows a run needs none.
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


def as_toml(value: Any) -> Any:
    """`value` as TOML would hold it: tuples as lists, NumPy's numbers as Python's, paths as text."""
    if isinstance(value, Mapping):
        return {key: as_toml(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_toml(inner) for inner in value]
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, PurePath) else value
