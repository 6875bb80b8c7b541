"""The spec: what a user writes in TOML, range-checked when read; an unknown key names the nearest valid one.

Its sections are those of the stages; this module names none of them.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args, get_origin

from pydantic import AfterValidator, BaseModel, Field, ValidationError, create_model, model_validator

from intriguing.basics.folders.presence import is_file
from intriguing.errors import SpecError, did_you_mean, unknown_name
from intriguing.stages import STAGES
from intriguing.stages.common.compute import ComputeSpec
from intriguing.stages.common.section import Name, Section, as_toml
from intriguing.stages.common.stage import Stage
from intriguing.sweep.limits import SPECS, check_is_there, check_size, folder_name, read_toml, spec_names


class Spec(Section):
    """A sweep: what is looked at, and what is asked. Each stage's section is a field of its name."""

    name: Annotated[Name, AfterValidator(folder_name)]
    """The run's name, one component of a path; runs go to outputs/NAME unless --out says otherwise."""
    seed: int = Field(default=0, ge=0)
    """The root of every random number but the models'."""
    compute: ComputeSpec = ComputeSpec()
    """How the work is cut and run."""

    @model_validator(mode="after")
    def _agree(self) -> "Spec":
        for stage in STAGES:
            section = section_of(self, stage)
            if stage.agree is not None and section is not None:
                stage.agree(section, self)
        return self

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # the stages' sections


def section_of(spec: Any, stage: Stage) -> Any:
    """The section of a stage: the spec itself where the stage's keys stand at the top; None where it is left out."""
    return spec if stage.at_top else getattr(spec, stage.name, None)


def with_section(spec: Spec, stage: Stage, section: Any) -> Spec:
    """`spec` with another section of this stage."""
    if not stage.at_top:
        return spec.model_copy(update={stage.name: section})
    assert stage.section is not None
    return spec.model_copy(update={key: getattr(section, key) for key in stage.section.model_fields})


def _with_stages() -> type[Spec]:
    """The class of a spec: its own fields, those of stages whose keys stand at the top, and a field per other stage."""
    top = [stage.section for stage in STAGES if stage.section is not None and stage.at_top]
    sections: dict[str, Any] = {
        stage.name: (stage.section | None, Field(default=None, description=stage.section.__doc__))
        for stage in STAGES
        if stage.section is not None and not stage.at_top
    }
    return cast("type[Spec]", create_model("Spec", __base__=(*top, Spec), __doc__=Spec.__doc__, **sections))


_COMPLETE = _with_stages()


def describe_spec(name: str) -> str:
    """The first comment of the spec called `name` in the package; raises `UnknownNameError` where there is none."""
    if name not in spec_names():
        raise unknown_name("spec", name, spec_names())
    first = (SPECS / f"{name}.toml").read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip()


def load_spec(name: str | os.PathLike[str] | Mapping[str, Any] | Spec) -> Spec:
    """The spec called `name` in the package, or the one at that path, or one given as a mapping.

    Raises:
        SpecError: it cannot be read, or a key or value is wrong; the message names the key and what to write.
        UnknownNameError: no spec has that name.
    """
    if isinstance(name, Spec):
        return name
    if isinstance(name, Mapping):
        check_size(name, "The spec")
        return _validate(as_toml(name), "the spec")
    check_is_there(str(name))
    path = Path(name)
    if path.suffix != ".toml" and not is_file(path):
        path = SPECS / f"{name}.toml"
    body = read_toml(path)
    return _validate({"name": path.stem} | body, str(path))


def _validate(body: dict[str, Any], where: str) -> Spec:
    try:
        return _COMPLETE.model_validate(body)
    except ValidationError as error:
        lines = [_explain(e) for e in error.errors()]
        raise SpecError(f"{where} cannot be run:\n" + "\n".join(f"  {line}" for line in lines)) from None


def _explain(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        valid = _keys_at(error["loc"][:-1])
        return f"{key}: unknown key.{did_you_mean(str(error['loc'][-1]), valid)} Valid keys: {', '.join(valid)}."
    if error["type"] in ("dict_type", "model_type"):
        *above, last = error["loc"]
        if above and last in _keys_at(tuple(error["loc"])):  # a key of a table that has lost its name
            table = f"{'.'.join(map(str, above))}.NAME"
            return f"{key}: it is a key of a table with a name; write [{table}], and {last} = ... below it"
        table = f"[{key}.NAME]" if error["type"] == "dict_type" and _keys_at((*error["loc"], "")) else f"[{key}]"
        return f"{key}: it is a table; write {table}, and its keys below (given: {error['input']!r})"
    message = str(error["msg"]).removeprefix("Value error, ")
    if key and error["type"] == "value_error" and re.match(r"[\w.-]+: ", message):
        return f"{key}.{message}"  # a section's own check names the key below it
    value = "" if error["type"] in ("missing", "value_error") else f" (given: {error['input']!r})"
    return f"{key}: {message}{value}" if key else f"{message}{value}"


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    annotation: Any = _COMPLETE
    for part in location:
        if get_origin(annotation) is dict:  # a name that the user chose: the section lies one level deeper
            annotation = get_args(annotation)[1]
            continue
        section = _section_class(annotation)
        annotation = section.model_fields[part].annotation if section and part in section.model_fields else None
    section = _section_class(annotation)
    return list(section.model_fields) if section else []


def _section_class(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [_section_class(a) for a in getattr(annotation, "__args__", ())]
    return next((i for i in inner if i is not None), None)
