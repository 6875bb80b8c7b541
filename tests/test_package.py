"""The public surface: what the package exports, and what importing it costs."""

import inspect
import pickle
import pkgutil
import subprocess
import sys

import pytest

import intriguing as ig
from intriguing import errors, stages
from intriguing.stages import STAGES

ERRORS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, errors.IntriguingError) and kind.__module__ == "intriguing.errors"
]


def test_every_public_name_is_there():
    assert sorted(ig.__all__) == sorted([*ig._HOME, "errors", "__version__"])
    for name in ig.__all__:
        assert getattr(ig, name) is not None
    assert dir(ig) == sorted(ig.__all__)


def test_the_public_names_are_these():
    assert set(ig.__all__) == {
        "run",
        "open_run",
        "Run",
        "minimal_distortion",
        "SearchOptions",
        "SearchResult",
        "amplify",
        "gaussian_noise",
        "collect_activations",
        "rotation_test",
        "RotationTests",
        "Directions",
        "TopK",
        "Moments",
        "operator_norm",
        "errors",
        "__version__",
    }


def test_an_unknown_name_lists_the_public_ones():
    with pytest.raises(AttributeError, match="has no attribute 'minimal_distorsion'; it has run, open_run"):
        _ = ig.minimal_distorsion


@pytest.mark.parametrize("module", ["intriguing", "intriguing.cli", "intriguing.results"])
def test_importing_costs_neither_torch_nor_ray(module):
    code = f"import sys, {module}; print(sorted({{'torch', 'ray', 'torchvision', 'gensim'}} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_what_show_prints_and_answers_costs_no_heavy_import():
    modules = [m.name for m in pkgutil.walk_packages(stages.__path__, "intriguing.stages.")]
    modules = [name for name in modules if {"verdicts", "printed"} & set(name.split(".")[3:])]
    code = "import sys; from importlib import import_module as load; list(map(load, sys.argv[1:])); print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=True).stdout
    assert {"intriguing.stages.hardening.verdicts", "intriguing.stages.units.printed"} <= set(printed.split())
    assert not {"torch", "ray", "matplotlib", "scipy.stats", "jinja2"} & set(printed.split())


WITHOUT_TORCH = {"spec", "functions", "inspection", "plan", "page"}
IMPORT_ALL = """
import sys
from importlib import import_module
for module in sys.argv[1:]:
    import_module(module)
    heavy = {"torch", "ray", "torchvision", "gensim"} & set(sys.modules)
    if heavy:
        sys.exit(f"{module} imports {sorted(heavy)}")
"""


def test_spec_plan_and_page_of_every_stage_cost_no_torch():
    modules = [m.name for m in pkgutil.walk_packages(stages.__path__, "intriguing.stages.")]
    modules = [name for name in modules if WITHOUT_TORCH & set(name.split(".")[3:])]
    for stage in STAGES:
        parts = {name.split(".")[3] for name in modules if name.startswith(f"intriguing.stages.{stage.name}.")}
        assert parts, f"the folder of stage {stage.name} has none of {sorted(WITHOUT_TORCH)}"
    child = subprocess.run([sys.executable, "-c", IMPORT_ALL, *modules], capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr


def test_what_a_terminal_is_told_costs_neither_torch_nor_matplotlib():
    codes = [code for stage in STAGES for code in (stage.verdicts, stage.printed) if code is not None]
    modules = [(code.path or code.name).partition(":")[0] for code in codes]
    assert len(modules) > 8
    all_of_them = IMPORT_ALL.replace('"ray", ', '"ray", "matplotlib", ')
    child = subprocess.run([sys.executable, "-c", all_of_them, *modules], capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr


@pytest.mark.parametrize("kind", ERRORS, ids=lambda k: k.__name__)
def test_errors_survive_the_way_back_from_a_worker(kind):
    again = pickle.loads(pickle.dumps(kind("what was wrong")))
    assert type(again) is kind
    assert str(again) == "what was wrong"


def test_the_tree_of_errors_is_drawn_in_full():
    assert errors.__doc__ is not None
    for kind in ERRORS:
        assert kind.__name__ in errors.__doc__


def test_an_unknown_name_s_error_names_the_nearest_and_the_valid_ones():
    error = errors.unknown_name("model", "cn", ["cnn", "mlp", "softmax"])
    assert str(error) == "There is no model named 'cn'. Did you mean 'cnn'? Valid names: cnn, mlp, softmax."
    assert "Did you mean 'K'? Valid" in str(errors.unknown_name("key", "k", ["K", "rows"]))
    many = str(errors.unknown_name("layer", "fc1", [f"conv{i}" for i in range(62)]))
    assert many.endswith(", conv61, conv7 and 2 more.") and "..." not in many
