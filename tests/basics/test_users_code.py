"""A module that was written as a script: what it changes for the whole process is put back."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from intriguing.basics.precision import USUAL, Precision
from intriguing.basics.process import users_code
from intriguing.data import factories
from intriguing.models import build_model

NUMBERS = torch.linspace(0.1, 1, 64 * 64).reshape(64, 64)


def test_what_torch_begins_with_is_known():
    code = "from intriguing.basics.precision import USUAL, Precision; assert Precision.now() == USUAL"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Writes a module that can be imported; its name."""

    def write(code):
        name = f"script_{abs(hash(code))}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
        monkeypatch.syspath_prepend(tmp_path)
        return name

    monkeypatch.setattr(users_code, "_theirs", [])
    monkeypatch.setattr(factories, "IMPORTED", {})
    monkeypatch.chdir(tmp_path)
    yield write
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    torch.set_autocast_enabled("cpu", False)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False
    USUAL.set()
    for name in [name for name in sys.modules if name.startswith("script_")]:
        del sys.modules[name]


def test_a_module_that_changes_the_working_folder_reads_its_files_there_and_moves_nobody_else(script, tmp_path):
    """The tables of a run whose --out was relative went into the folder that the module had chosen."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").write_text("7")
    name = script(f"""
        import os
        os.chdir({str(tmp_path / "elsewhere")!r})
        def data():
            return int(open("mine.txt").read())
    """)
    assert factories.call(f"{name}:data") == 7
    assert Path.cwd() == tmp_path
    assert factories.call(f"{name}:data") == 7
    assert Path.cwd() == tmp_path


def test_a_module_whose_folder_is_gone_moves_nobody_else(script, tmp_path):
    name = script(f"""
        import os
        def data():
            os.mkdir({str(tmp_path / "gone")!r})
            os.chdir({str(tmp_path / "gone")!r})
            os.rmdir({str(tmp_path / "gone")!r})
            return 1
    """)
    assert factories.call(f"{name}:data") == 1
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize(
    ("change", "now"),
    [
        ("set_float32_matmul_precision('medium')", Precision.now),
        ("backends.cuda.matmul.__setattr__('allow_tf32', True)", Precision.now),
        ("autocast('cpu', dtype=torch.bfloat16).__enter__()", lambda: torch.is_autocast_enabled("cpu")),
        ("use_deterministic_algorithms(True)", torch.are_deterministic_algorithms_enabled),
        ("backends.cudnn.__setattr__('benchmark', True)", lambda: torch.backends.cudnn.benchmark),
    ],
)
def test_how_a_module_has_torch_round_and_choose_holds_in_its_own_code_alone(script, change, now):
    """Scans and tests in the same worker were rounded to 8 bits: results depended on who had loaded the model."""
    before, products = now(), (NUMBERS @ NUMBERS.T).tolist()
    name = script(f"""
        import torch
        torch.{change}
        def build():
            return torch.nn.Linear(4, 3)
    """)
    build_model(f"{name}:build", (1, 2, 2), 3)
    assert now() == before
    assert (NUMBERS @ NUMBERS.T).tolist() == products


@pytest.mark.parametrize("change", ["default_dtype(torch.float64)", "default_device('meta')", "grad_enabled(False)"])
@pytest.mark.parametrize("inside", [True, False])
def test_modes_of_torch_that_a_module_sets_hold_in_its_own_code_alone(script, change, inside):
    """Training failed by "element 0 of tensors does not require grad" after work had begun."""
    at_import, in_builder = ("pass", f"torch.set_{change}") if inside else (f"torch.set_{change}", "pass")
    name = script(f"""
        import torch
        {at_import}
        def build():
            {in_builder}
            return torch.nn.Linear(4, 3)
    """)
    layer = build_model(f"{name}:build", (1, 2, 2), 3)
    assert torch.get_default_dtype() == torch.float32
    assert torch.get_default_device() == torch.device("cpu")
    assert torch.is_grad_enabled()
    if not inside:
        assert layer.weight.dtype == torch.float32
        assert layer.weight.device.type == "cpu"
