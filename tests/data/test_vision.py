"""The one door to torchvision."""

import subprocess
import sys
from pathlib import Path

import pytest

import intriguing


@pytest.mark.slow
def test_torchvision_imports_beside_this_torch_and_its_models_run():
    code = (
        "import torch\nfrom intriguing.data.vision import torchvision\ntv = torchvision()\nassert tv is torchvision()\n"
        "model = tv.models.get_model('squeezenet1_1', weights=None)\n"
        "assert model.eval()(torch.rand(1, 3, 64, 64)).shape == (1, 1000)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=250)


@pytest.mark.slow
def test_a_users_module_may_import_torchvision_by_itself(tmp_path):
    (tmp_path / "zoo.py").write_text(
        "from torchvision import models\n\n\ndef build():\n    return models.squeezenet1_1()\n"
    )
    (tmp_path / "late.py").write_text(
        "def build():\n    from torchvision import models\n\n    return models.squeezenet1_1()\n"
    )
    code = (
        "from intriguing.models import build_model\n"
        "assert build_model('late:build', (3, 64, 64), 1000, seed=0).num_classes == 1000\n"
        "from intriguing.data.factories import resolve\nassert resolve('zoo:build')().num_classes == 1000"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=250, cwd=tmp_path)


def test_no_other_module_imports_torchvision():
    package = Path(intriguing.__file__).parent
    guilty = [
        p.name
        for p in package.rglob("*.py")
        if any(
            line.strip().startswith(("import torchvision", "from torchvision")) for line in p.read_text().splitlines()
        )
    ]
    assert guilty == []
