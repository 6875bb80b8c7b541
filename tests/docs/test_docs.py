"""The documentation holds: references are fresh, links lead somewhere, commands and snippets are of this version."""

import ast
import importlib.util
import inspect
import re
import shlex
import shutil
import textwrap
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclopts import CycloptsError

import intriguing as ig
from intriguing.cli import app, call
from intriguing.sweep import prepare
from intriguing.sweep.reporting.printed import names
from intriguing.sweep.spec import load_spec, spec_names
from intriguing.tables import TABLES
from intriguing.units.scoring.scores import METRICS
from tests.docs.pages import IDS, PAGES, ROOT, anchors, commands, links, prose, snippets, spans

_PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_]*")
_CHEAP = ("status", "show", "specs", "models", "datasets")


def _generator():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATED = _generator().PAGES


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_fresh(name):
    page = ROOT / "docs" / name
    assert page.read_text(encoding="utf-8") == GENERATED[name](), f"docs/{name} is stale: type `make docs`"


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_bytes()) < 10_000


def _figures_of_the_readme():
    """(figure, page) of each row of the README's table of figures; "the same" is the page of the row before."""
    section = (ROOT / "README.md").read_text().partition("## How good, how fast")[2].partition("\n## ")[0]
    page = ""
    for row in re.findall(r"^\| (?!what|---)(.*) \|$", section, re.M):
        _, here, beside, command = re.split(r"\s*\|\s*", row)
        page = (re.findall(r"\]\(([^)#]+)", command) or [page])[0]
        yield from ((figure, page) for figure in re.findall(r"(?<![\w-])\d[\d,.]*\d(?! x$)", f"{here} {beside}"))


@pytest.mark.parametrize(("figure", "page"), list(_figures_of_the_readme()))
def test_a_figure_of_the_readme_stands_on_the_page_that_it_cites(figure, page):
    assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d]|[.,]\d)", (ROOT / page).read_text()), (
        f"{page}: no {figure}"
    )


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_no_measured_row_stands_in_two_tables(page):
    rows = [row for row in page.read_text().splitlines() if row.startswith("|") and len(re.findall(r"\d\.\d", row)) > 2]
    assert sorted(rows) == sorted(set(rows))


def test_links_lead_from_the_readme_to_every_page():
    reached: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        targets = {(page.parent / target.partition("#")[0]).resolve() for target in links(page)}
        ahead += [target for target in targets - reached if target in PAGES]
    assert not [page for page in PAGES if page.is_relative_to(ROOT / "docs") and page not in reached]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_to_files_and_headings_that_are_there(page):
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), f"{page.name} links to {target}, and there is no such file"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {target}; headings: {anchors(there)}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_named_in_backticks_are_there(page):
    for span in spans(page):
        if re.fullmatch(r"(intriguing|jobs|tests|cluster|docs)/[\w./-]+", span):
            assert (ROOT / span).exists(), f"{page.name} names {span}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_shown_commands_are_of_this_version(page):
    for command in commands(page):
        try:
            _check(shlex.split(command))
        except (AssertionError, ValueError, CycloptsError) as error:
            pytest.fail(f"{page.name} shows `{command}`: {error}")


def _check(words):
    """Raise where a command, one of its options, or a spec, table, file or target that it names is not there."""
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    match words:
        case ["intriguing", *rest]:
            _check_intriguing(rest)
        case ["python", script, *rest] if script.endswith(".py"):
            _check_script(script, rest)
        case ["make", *targets]:
            known = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
            assert {t for t in targets if "=" not in t} <= known, f"make knows {sorted(known)}"
        case ["ray", "submit", cluster, script, *rest]:
            assert cluster.isupper() or (ROOT / cluster).exists(), f"there is no {cluster}"
            _check_script(script, rest)
        case ["ray", "job", "submit", *rest] if "--" in rest:
            _check(rest[rest.index("--") + 1 :])


def _check_intriguing(words):
    if words[0].startswith("--") or _PLACEHOLDER.fullmatch(words[0]):
        assert words[0] in ("--help", "--version", "--install-completion") or _PLACEHOLDER.fullmatch(words[0]), (
            f"no option {words[0]}"
        )
        return
    if words == [words[0]] and words[0] in app:
        return  # the command as such
    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    given = bound.arguments
    if "spec" in given:
        _check_spec(given["spec"])
    if isinstance(what := given.get("what"), str) and not _PLACEHOLDER.fullmatch(what):
        assert what in (*TABLES, *names(), "verdicts"), f"there is no table or stage {what!r}"


def _check_spec(name):
    known = name in spec_names() or name.endswith(".toml") or _PLACEHOLDER.fullmatch(name)
    assert known, f"there is no spec {name!r}"


def _check_script(script, words):
    if not script.startswith(("jobs/", "docs/")):
        return
    if _PLACEHOLDER.fullmatch(Path(script).stem):
        return
    assert (ROOT / script).exists(), f"there is no {script}"
    source = (ROOT / script).read_text()
    if script == "jobs/benchmark.py":
        if not words or _PLACEHOLDER.fullmatch(words[0]):
            return
        parts = ROOT / "jobs" / "benchmarks"
        part = next((p for p in (parts / f"{words[0]}.py", parts / words[0] / "main.py") if p.exists()), None)
        assert f'"{words[0]}":' in source and part, f"there is no benchmark {words[0]!r}"
        source, words = part.read_text(), words[1:]
    sweeps = "intriguing.cli" in source
    own = set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', source))
    if not sweeps:
        unknown = [w for w in words if w.startswith("--") and w.partition("=")[0] not in own]
        assert not unknown, f"{script} has no option {unknown}"
        return
    # What is not its own goes to `intriguing run`, which knows none of these.
    while alone := [i for i, word in enumerate(words) if word in own & {"--corpus", "--results"}]:
        words = [*words[: alone[0]], *words[alone[0] + 2 :]]
    default = re.search(r'default="(\w+)"', source)
    named = bool(words) and not words[0].startswith("-")
    _check_intriguing(["run", *([] if named else [default[1] if default else "full"]), *words])


def test_the_command_check_refuses_what_is_not_there():
    for wrong in (
        "intriguing rum demo",
        "intriguing run demmo",
        "intriguing run demo --worker 3",
        "intriguing show outputs/demo distortion",
        "python jobs/full_swep.py",
        "python jobs/full_sweep.py demo --executr ray",
        "python jobs/words.py wods --corpus x",
        "python jobs/full_sweep.py demo --corpus x",
        "python jobs/benchmark.py serach",
        "python jobs/benchmark.py search --quik",
        "make dem",
        "ray submit ray-clutser.yaml jobs/full_sweep.py",
    ):
        with pytest.raises((AssertionError, CycloptsError)):
            _check(shlex.split(wrong))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_shown_specs_are_valid(page):
    whole = {"name": "shown", "datasets": {"mnist-sample": {}}, "models": {"softmax": {"layers": ["logits"]}}}
    for snippet in snippets(page, "toml"):
        body = tomllib.loads(snippet.text)
        if "name" not in body:  # a part of a spec: the rest is as small as can be
            body = whole | body
            for name in ("datasets", "models"):
                body[name] = body[name] or whole[name]
        load_spec(body)


def _defined_names(tree):
    return [n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "ig"]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_shown_python_names_what_is_there(page):
    for snippet in snippets(page, "python"):
        if page.name in GENERATED:
            continue  # signatures, out of the code itself
        tree = ast.parse(snippet.text, snippet.place)
        missing = [name for name in _defined_names(tree) if not hasattr(ig, name)]
        assert not missing, f"{snippet.place}: ig has no {missing}"
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("intriguing"):
                module = import_module(node.module or "")
                assert all(hasattr(module, name.name) for name in node.names), f"{snippet.place}: {ast.unparse(node)}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder whose outputs/demo is a demo that is small in everything, and outputs/mycode the same."""
    spec: dict[str, Any] = load_spec("demo").model_dump()
    spec["models"] = {name: spec["models"][name] | {"training": {"epochs": 1}} for name in ("softmax", "mlp")}
    spec["units"] |= {"rows": 100, "rotations": 0}
    spec["blind_spots"] |= {"images": 6}
    where = tmp_path_factory.mktemp("docs")
    ig.run(spec, out=where / "outputs" / "demo", executor="inline")
    shutil.copytree(where / "outputs" / "demo", where / "outputs" / "mycode")
    return where


def _namespace():
    """What a snippet may take for given: a model, images, labels, a loader."""
    import numpy as np
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential()
    for name, layer in (("flat", nn.Flatten()), ("layer4", nn.Linear(784, 512)), ("logits", nn.Linear(512, 10))):
        model.add_module(name, layer)
    x = torch.rand(4, 1, 28, 28)
    classes = np.arange(800) % 8
    activations = np.eye(8)[classes] + np.random.default_rng(0).normal(size=(800, 8))
    return {
        "ig": ig,
        "model": model,
        "x": x,
        "images": x,
        "labels": [0, 1, 2, 3],
        "loader": [x[:2], x[2:]],
        "activations": activations,
        "classes": classes,
    }


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_shown_python_runs(page, folder, monkeypatch):
    shown = [s for s in snippets(page, "python") if s.runs and page.name not in GENERATED]
    if not shown:
        pytest.skip("it shows no Python")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(ig, "run", lambda spec, out, executor: ig.open_run(out))  # that run is there already
    namespace = _namespace()
    for snippet in shown:
        exec(compile(snippet.text, snippet.place, "exec"), namespace)
        if "# mycode.py" in snippet.text:
            _call_users_code(namespace)


@pytest.mark.parametrize("name", [name for name in ig.__all__ if not name.startswith("__")])
def test_the_lines_that_open_a_public_docstring_run(name, folder, monkeypatch):
    first, example, *_ = (inspect.getdoc(getattr(ig, name)) or "").split("\n\n")
    assert first.endswith((".", ":")) and "\n" not in first, f"ig.{name}: a first sentence on a line of its own"
    assert all(line.startswith("    ") for line in example.splitlines()), f"ig.{name}: then lines that one can paste"
    monkeypatch.chdir(folder)
    monkeypatch.setattr(ig, "run", lambda spec, out, executor: ig.open_run(out))  # that run is there already
    exec(compile(textwrap.dedent(example), f"ig.{name}", "exec"), _namespace())


def _call_users_code(namespace):
    """A shown function of the user's gives what a spec needs of it."""
    import torch

    if (build := namespace.pop("build", None)) is not None:
        assert build(shape=(1, 28, 28), classes=10)(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    if (load := namespace.pop("load", None)) is not None:
        assert {"train", "test"} == set(load())


def test_shown_commands_that_cost_nothing_run(folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    shown = {c for page in PAGES for c in commands(page) if re.match(rf"intriguing ({'|'.join(_CHEAP)})\b", c)}
    run = [shlex.split(command)[1:] for command in sorted(shown)]
    run = [words for words in run if words not in (["show"], ["status"])]
    assert len(run) >= 5
    for words in run:
        if any(_PLACEHOLDER.fullmatch(word) for word in words):
            continue
        assert call(words) == 0, f"intriguing {shlex.join(words)}: {capfd.readouterr().err}"


def test_the_demo_is_as_large_as_the_readme_says():
    told = re.search(r"(\d+) tasks ran, 0 reused", (ROOT / "README.md").read_text())
    assert told is not None
    assert int(told[1]) == len(prepare("demo").plan)


def test_every_environment_variable_has_a_line():
    code = [*(ROOT / "intriguing").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")]
    used = {name for file in code for name in re.findall(r"\bINTRIGUING_[A-Z_]*[A-Z]\b", file.read_text())}
    told = set(re.findall(r"`(INTRIGUING_[A-Z_]+)`", prose(ROOT / "docs/guides/environment.md")))
    assert used == told


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project["version"] == ig.__version__ == cited["version"]
    assert project["license"] == cited["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(cited)


def test_pre_commit_makes_the_checks_of_make_check():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = [hook["entry"] for repo in hooks for hook in repo["hooks"]]
    rule = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    assert rule is not None
    assert entries == [line.strip().replace("$(BIN)", ".venv/bin") for line in rule[1].splitlines()]
    assert {repo["repo"] for repo in hooks} == {"local"}


def test_the_map_of_the_house_has_every_folder():
    root = ROOT
    rooms = [f"intriguing/{file.parent.name}/" for file in root.glob("intriguing/*/__init__.py")]
    listed = (root / "CONTRIBUTING.md").read_text().partition("## Map of the house")[2].partition("\n## ")[0]
    assert not [room for room in (*rooms, "cluster/", "docs/", "jobs/", "tests/") if f"`{room}`" not in listed]


def test_every_score_is_explained_in_the_guide_to_results():
    of_bases = {"mean_cosine", "mean_jaccard", "distinct_inputs", "arbitrary", "dead", "saturated", "auroc_error_bound"}
    guide = (ROOT / "docs" / "guides" / "reading-results.md").read_text()
    assert {name for name in METRICS.keys() | of_bases if f"\n| `{name}` | " not in guide} == set()


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page, "python")], ids=lambda page: page.name)
def test_what_a_page_imports_stands_in_the_python_reference(page):
    headings = set(re.findall(r"^## (?:class )?(\S+)$", (ROOT / "docs" / "python.md").read_text(), re.M))
    for snippet in snippets(page, "python"):
        for package, imported in re.findall(r"^from (intriguing\.[\w.]+) import (.+)$", snippet.text, re.M):
            for name in imported.split(", "):
                assert f"{package}.{name}" in headings, f"{snippet.place}: add {package}.{name} to docs/generate.py"
