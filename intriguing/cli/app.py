"""The command line's frame: the app that the commands join, and the arguments that several of them share."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from cyclopts import App, Parameter

from intriguing.cli.terminal import out

app = App(
    name="intriguing",
    help="Do single units mean more than random directions? How small a change makes a network wrong?",
    help_prologue="Examples:\n\n    intriguing run demo\n    intriguing show outputs/demo transfer",
    result_action="return_value",
    console=out,
    version_flags=["--version"],
)

SpecArgument = Annotated[str, Parameter(help="A spec's name (demo, mnist, full, ...) or the path of a TOML file.")]
Out = Annotated[
    str | None,
    Parameter(
        help="The run folder, or its URI in a bucket (s3://bucket/folder); by default NAME in the folder "
        "INTRIGUING_OUT, else outputs. A run is continued."
    ),
]
Data = Annotated[
    str | None, Parameter(help="The folder that torchvision's data sets lie in; by default INTRIGUING_DATA.")
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
RunFolder = Annotated[str, Parameter(help="The run folder, or its URI in a bucket (s3://bucket/folder).")]

C = TypeVar("C", bound=Callable[..., Any])


def command(first: str, second: str) -> Callable[[C], C]:
    """Make a function a command of its name whose help opens with two examples, the words after `intriguing`."""

    def add(function: C) -> C:
        examples = f"Examples:\n\n    intriguing {first}\n    intriguing {second}"
        app.command(function, name=function.__name__.removesuffix("_command"), help_prologue=examples)
        return function

    return add
