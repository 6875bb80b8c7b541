"""Commands for the beginning: a spec for one's own model, what is here, and what there is to choose from."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from intriguing.basics.folders.files import at_home, writing
from intriguing.basics.text.printable import printable
from intriguing.cli.app import Data, Json, app, command
from intriguing.cli.terminal import list_sentences, print_json, write
from intriguing.engine.paths import allow_working_folder
from intriguing.errors import InputError

app.register_install_completion_command(
    add_to_startup=False, help="Let the shell (bash, zsh, fish) complete commands and options; says what to add to it."
)


@command("init mycode:build --data imagefolder:photos", "init torchvision:resnet18 --data cifar10 --out mine.toml")
def init(
    architecture: Annotated[
        str, Parameter(help="What makes the model: module:factory, torchvision:NAME, or a name of `intriguing models`.")
    ],
    *,
    data: Annotated[
        str | None,
        Parameter(help="A data source, as `intriguing datasets` lists them; by default what lies in this folder."),
    ] = None,
    weights: Annotated[str | None, Parameter(help="A file of weights, to load in place of training.")] = None,
    out: Annotated[
        str | None, Parameter(help="The new spec file, whose stem is the run's name; by default NAME.toml.")
    ] = None,
) -> int:
    """Look at a model, and write a commented spec for it: its layers are listed, the data is guessed where not given.

    The model is built once, in a process of its own; your code runs with your rights.
    """
    from intriguing.sweep.first_spec import first_spec

    allow_working_folder()
    name, text = first_spec(architecture, data, weights, Path(out).stem if out else None)
    path = at_home(out or f"{name}.toml")
    with writing(path, "Choose another file with --out."):
        if path.exists():
            raise InputError(f"{path} exists already: choose another file with --out.")
        if not path.parent.is_dir():
            raise InputError(f"There is no folder {path.parent}: make it, or choose another file with --out.")
        path.write_text(text, encoding="utf-8")
    write(printable(f"{path} written. Read it, then:\n  intriguing plan {path}\n  intriguing run {path}", lines=True))
    return 0


@command("doctor", "doctor --data ~/data")
def doctor(*, data: Data = None, as_json: Json = False) -> int:
    """Say what is here (Python, torch, devices, Ray, memory, data), and which specs of the package can run on it."""
    from intriguing.sweep.doctor import examine

    found = examine(data)
    if as_json:
        print_json(found)
        return 0
    return list_sentences({name: str(what) for name, what in found.items()}, as_json=False)


@command("models", "models --json")
def models(*, as_json: Json = False) -> int:
    """List the architectures that a spec can name."""
    from intriguing.models import known_models

    return list_sentences(known_models(), as_json)


@command("datasets", "datasets --json")
def datasets(*, as_json: Json = False) -> int:
    """List what the `source` of a data set can be: the names, and the forms of your own data."""
    from intriguing.data import FORMS, known_datasets

    named = {str(d["name"]): str(d["sentence"]) for d in known_datasets()}
    forms = {form.usage: form.sentence for form in FORMS.values()}
    own = {"module:factory": "what a function of yours returns: arrays, or a mapping as an npz file holds them"}
    return list_sentences(named | forms | own, as_json)


@command("specs", "specs --json")
def specs(*, as_json: Json = False) -> int:
    """List the specs in the package."""
    from intriguing.sweep.spec import describe_spec, spec_names

    return list_sentences({name: describe_spec(name) for name in spec_names()}, as_json)
