"""Write the generated pages of the documentation: `make docs`, or `python docs/generate.py`.

`tables.md` comes from the schemas, `cli.md` from the help of the commands, `spec.md` from the sections that the stages
give a spec, `python.md` from the docstrings of the public names, `glossary.md` from
the words that the page explains. A test fails when one of them is stale.
"""

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from unittest.mock import patch

import pyarrow as pa
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import intriguing
from intriguing import cli, tables
from intriguing.models import GENERAL, TrainOptions, build
from intriguing.report.glossary import glossary
from intriguing.stages import STAGES
from intriguing.stages.common.compute import ComputeSpec
from intriguing.stages.common.section import Section
from intriguing.sweep.spec import Spec
from intriguing.words import JudgeOptions, TrainingOptions

HERE = Path(__file__).resolve().parent
PARTS = (
    "units.ScoreTest",
    "units.Top",
    "transfer.Perturbed",
    "stability.OperatorNorm",
    "data.load_dataset",
    "data.Dataset",
    "data.Split",
    "data.Skipped",
    "models.build_model",
    "models.train_model",
    "models.TrainOptions",
    "models.TrainingReport",
    "stability.layer_norms",
    "stability.NetworkNorms",
    "stability.LayerNorm",
    "stability.lower_bounds",
    "stability.Certificates",
    "hardening.Cut",
)
"""Names that are not in `intriguing.__all__`: what public calls return, and what the guides import."""
_OWN = {"own_query", "groups", "check_whole", "in_order", "file_names", "none"}
"""Methods of public classes that the package itself needs and no user does."""
NOTE = "<!-- Written by docs/generate.py: edit the code's own sentences, then type `make docs`. -->"


def main() -> None:
    """Write every page that is not as it should be."""
    for name, page in PAGES.items():
        text = page()
        if not (HERE / name).exists() or (HERE / name).read_text(encoding="utf-8") != text:
            (HERE / name).write_text(text, encoding="utf-8")
            sys.stdout.write(f"docs/{name} written\n")


def tables_page() -> str:
    """Every table: what a row is, its key, and its columns."""
    lines = [
        "# The tables of a run",
        "Each table is a folder of Parquet files, `tables/NAME/*.parquet`; `intriguing show FOLDER` lists those of a "
        "run, and `intriguing show FOLDER TABLE --schema` prints what stands here. The columns of the **key** are "
        "together unique. A column that may be null is marked with *. "
        "[Reading results](guides/reading-results.md) shows how to read them.",
        _listing((table.name, f"a row is {table.row}") for table in tables.TABLES.values()),
    ]
    for table in tables.TABLES.values():
        rows = [
            [f"`{field.name}`{' *' if field.nullable else ''}", _arrow(field.type), field.doc, field.unit]
            for field in table.fields
        ]
        key = ", ".join(f"`{name}`" for name in table.key)
        lines += [f"## {table.name}", f"A row is {table.row}. Key: {key}."]
        lines += [_table(["column", "type", "what", "unit"], rows)]
    return _page(lines)


def cli_page() -> str:
    """Every command with its options, as `--help` gives them."""
    with patch.object(sys, "argv", ["intriguing"]):  # else the usage shows how this process was started
        text = cli.app.generate_docs(output_format="markdown")
    order = [name.removesuffix("_command") for module in cli.COMMANDS for name in vars(module)]
    parts = [f"## intriguing {part.strip()}" for part in text.split("## intriguing ")[1:]]
    commands = {part.splitlines()[0].removeprefix("## "): part for part in parts}
    names = sorted(commands, key=lambda name: order.index(name.split()[1]) if name.split()[1] in order else len(order))
    return _page(
        [
            "# The command line",
            str(cli.app.help),
            " ".join(cli.__doc__.split("\n\n", 1)[1].split()) if cli.__doc__ else "",
            "A flag comes before an [environment variable](guides/environment.md), that before the "
            "[spec](spec.md), that before the default.",
            _listing((name, "") for name in names),
            *(commands[name] for name in names),
        ]
    )


def spec_page() -> str:
    """Every key of a spec, section by section."""
    _describe(Section)
    at_top = [stage.section for stage in STAGES if stage.section is not None and stage.at_top]
    keys = dict(Spec.model_fields)
    for section in at_top:
        keys |= section.model_fields
    below = {name: field for name, field in keys.items() if _section_in(field.annotation) is None}
    below["name"] = FieldInfo.merge_field_infos(below["name"], default="the file's name")
    lines = [
        "# The spec",
        "A spec is a TOML file. Only a data set and a model are needed, or a corpus of words; a section that is left "
        "out asks nothing. An unknown key is refused with the nearest valid one. `intriguing specs` lists the specs in "
        "the package: they are examples of everything here.",
        "## At the top",
        _keys(below),
        "## [datasets.NAME]",
        *_section(_section_in(keys["datasets"].annotation)),
        "## [models.NAME]",
        *_section(_section_in(keys["models"].annotation)),
        "### Options of the architectures",
        "Keys of `options`. A `module:factory` has the parameters of its own function.",
        _architectures(),
        "### Keys of a model's training",
        "Those that are left out follow the recipe of the architecture, or these defaults.",
        _options(TrainOptions, GENERAL),
    ]
    for stage in STAGES:
        if stage.section is not None and not stage.at_top:
            guide = f"guides/{stage.name}.md"
            link = f"See [the guide]({guide})." if (HERE / guide).exists() else ""
            lines += [f"## [{stage.name}]", *_section(stage.section), link, *_nested(stage.name, stage.section)]
        if stage.name == "words":
            lines += ["### Keys of the words' training", "Arguments of gensim's Word2Vec.", _options(TrainingOptions)]
            lines += ["### Keys of the judging", "How much the judges of words do.", _options(JudgeOptions)]
    lines += ["## [compute]", *_section(ComputeSpec)]
    return _page(lines)


def python_page() -> str:
    """The public names with their docstrings, and the names of packages that the guides use."""
    names = {f"ig.{name}": getattr(intriguing, name) for name in intriguing.__all__ if not name.startswith("__")}
    parts = {
        f"intriguing.{name}": getattr(import_module(f"intriguing.{name.split('.')[0]}"), name.split(".")[1])
        for name in PARTS
    }
    lines = [
        "# From Python",
        "`import intriguing as ig`: these names are public, and what they need is imported when they are first used.",
        _listing((_heading(name, thing), "") for name, thing in names.items()),
        "What these calls return, and the parts that the guides use, are imported from their packages:",
        _listing((_heading(name, thing), "") for name, thing in parts.items()),
    ]
    for name, thing in (names | parts).items():
        lines += [f"## {_heading(name, thing)}", *_described(thing)]
    return _page(lines)


def _heading(name: str, thing: Any) -> str:
    """A name under which links find it: the anchors of `ig.run` and `ig.Run` would be the same."""
    return f"class {name}" if inspect.isclass(thing) else name


def glossary_page() -> str:
    """The words that the page of a run uses, each explained in a sentence."""
    lines = [
        "# Glossary",
        "The words of a run's page, as it explains them itself, where they stand and at its end. Figures and tables "
        "use them in the same sense.",
        _table(["word", "what it is"], [[f"**{term.name}**", term.sentence] for term in glossary()]),
    ]
    return _page(lines)


PAGES: dict[str, Callable[[], str]] = {
    "tables.md": tables_page,
    "cli.md": cli_page,
    "spec.md": spec_page,
    "python.md": python_page,
    "glossary.md": glossary_page,
}


def _page(blocks: list[str]) -> str:
    first, *rest = [block for block in blocks if block]
    return "\n\n".join([first, NOTE, *rest]) + "\n"


def _listing(entries: Any) -> str:
    """Links to headings: (heading, what it is) each."""
    lines = []
    for heading, what, *_ in entries:
        anchor = "".join(c for c in heading.lower() if c.isalnum() or c in " _-").replace(" ", "-")
        lines.append(f"- [`{heading}`](#{anchor}){': ' + what if what else ''}")
    return "\n".join(lines)


def _table(header: list[str], rows: list[list[str]]) -> str:
    used = [i for i, _ in enumerate(header) if any(row[i] for row in rows)]
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(line[i]) for i in used) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _arrow(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(kind):
        return f"list of {kind.value_type}, one per unit"
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)


def _section(section: type[BaseModel] | None) -> list[str]:
    assert section is not None
    return [inspect.getdoc(section) or "", _keys(section.model_fields)]


def _nested(path: str, section: type[BaseModel]) -> Iterator[str]:
    """The sections below a section, each under a name of the user's choice."""
    for name, field in section.model_fields.items():
        inner = _section_in(field.annotation)
        if inner is not None:
            yield from (f"### [{path}.{name}.NAME]", *_section(inner))


def _describe(section: type[BaseModel]) -> None:
    """Give the fields of all sections the sentences below them: nobody else needs these, and reading takes time."""
    for kind in section.__subclasses__():
        for name, sentence in _field_docs(kind).items():
            if name in kind.model_fields:
                kind.model_fields[name].description = sentence
        _describe(kind)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, by name or alone."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next((s for s in map(_section_in, get_args(annotation)) if s is not None), None)


def _keys(keys: dict[str, FieldInfo]) -> str:
    rows = [[f"`{name}`", _kind(field), _default(field), field.description or ""] for name, field in keys.items()]
    return _table(["key", "value", "default", "what"], rows)


def _kind(field: FieldInfo) -> str:
    bounds = [_bound(mark) for mark in field.metadata]
    return " ".join([_named(field.annotation), *filter(None, bounds)])


def _bound(mark: Any) -> str:
    for name, words in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
        if (value := getattr(mark, name, None)) is not None:
            return f"{words} {value:,}" if isinstance(value, int) else f"{words} {value:g}"
    return ""


def _named(kind: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return " ".join([_named(inner[0]), *filter(None, map(_bound, inner[1:]))])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(_named(part) for part in inner if part is not NoneType)
    if origin in (list, tuple):
        return f"list of {_named(inner[0])}"
    if origin is dict:
        return "a table each" if _section_in(kind) else "table"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required() or value is PydanticUndefined:
        return "needed"
    return _value({} if isinstance(value, dict) and value else value)


def _value(value: Any) -> str:
    """A default as TOML writes it; nothing where it is empty."""
    if value is None or value == "" or (isinstance(value, dict | list | tuple) and not value):
        return ""
    if isinstance(value, BaseModel):
        return ""
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def _options(kind: Any, defaults: Any = None) -> str:
    """The fields of a dataclass of options; `defaults` has the values that stand for None."""
    docs, hints = _field_docs(kind), inspect.get_annotations(kind, eval_str=True)
    rows = []
    for field in fields(kind):
        default = getattr(defaults, field.name) if defaults else field.default
        shown = "" if default is MISSING else _value(default)
        rows.append([f"`{field.name}`", _named(hints[field.name]), shown, docs.get(field.name, "")])
    return _table(["key", "value", "default", "what"], rows)


def _architectures() -> str:
    rows = [
        [f"`{name}`", f"`{option.name}`", _value(option.default)]
        for name, make in build._BUILDERS.items()
        for option in inspect.signature(make).parameters.values()
        if option.name not in ("shape", "classes", "name")
    ]
    return _table(["architecture", "option", "default"], rows)


def _described(thing: Any) -> Iterator[str]:
    """A function, a class with its fields and methods, or a module."""
    if not callable(thing):
        yield _code(inspect.getdoc(thing) or "", "text")
        return
    node = _tree(thing)
    if isinstance(node, ast.FunctionDef):
        yield _code(f"{thing.__name__}({ast.unparse(node.args)}){_returned(node)}")
        yield _code(inspect.getdoc(thing) or "", "text")
        return
    assert isinstance(node, ast.ClassDef)
    yield _code(inspect.getdoc(thing) or "", "text")
    docs, hints = _field_docs(thing), getattr(thing, "__dataclass_fields__", {})
    rows = [
        [f"`{field.name}`", _source_of_type(node, field.name), _plain_default(field.default), docs[field.name]]
        for field in hints.values()
        if field.name in docs and not field.name.startswith("_")
    ]
    if rows:
        yield _table(["field", "type", "default", "what"], rows)
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and (
            method.name == "__init__" or not (method.name.startswith("_") or method.name in _OWN)
        ):
            text = inspect.cleandoc(ast.get_docstring(method) or "")
            kind = {ast.unparse(d) for d in method.decorator_list}
            if {"property", "cached_property"} & kind:
                yield f"**`.{method.name}`** {' '.join(text.split())}"
            elif method.name == "__init__":
                yield _code(f"{thing.__name__}({_without_first(method)})")
            else:
                yield f"**`.{method.name}({_without_first(method)}){_returned(method)}`**"
                yield _code(text, "text")


def _returned(function: ast.FunctionDef) -> str:
    """The type that a function returns, as it is annotated."""
    kind = function.returns
    text = kind.value if isinstance(kind, ast.Constant) and isinstance(kind.value, str) else kind and ast.unparse(kind)
    return f" -> {text}" if text and text != "None" else ""


def _without_first(method: ast.FunctionDef) -> str:
    """The parameters of a method but self or cls."""
    arguments = method.args
    if "staticmethod" not in {ast.unparse(d) for d in method.decorator_list}:
        arguments.args = arguments.args[1:]
    return ast.unparse(arguments)


def _source_of_type(node: ast.ClassDef, name: str) -> str:
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == name:
            return f"`{ast.unparse(line.annotation)}`"
    return ""


def _plain_default(value: Any) -> str:
    return "" if value is MISSING or value is None or value == "" else f"`{value!r}`"


def _field_docs(kind: Any) -> dict[str, str]:
    """The sentence under each field of a class."""
    node = _tree(kind)
    assert isinstance(node, ast.ClassDef)
    docs = {}
    for line, following in zip(node.body, node.body[1:], strict=False):
        text = following.value if isinstance(following, ast.Expr) else None
        if isinstance(line, ast.AnnAssign) and isinstance(text, ast.Constant) and isinstance(text.value, str):
            docs[ast.unparse(line.target)] = inspect.cleandoc(text.value)
    return docs


def _tree(thing: Any) -> ast.stmt:
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


def _code(text: str, language: str = "python") -> str:
    return f"```{language}\n{text}\n```" if text else ""


if __name__ == "__main__":
    main()
