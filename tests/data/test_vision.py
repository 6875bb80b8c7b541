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
def test_a_users_code_may_import_torchvision_wherever_it_likes(tmp_path):
    """In its module, its function or its forward pass, and where it would go on without: beside a CPU torch an import
    of torchvision for CUDA fails at first.
    """
    (tmp_path / "zoo.py").write_text(
        "try:\n    from torchvision import models\nexcept Exception:\n    models = None\n\n\n"
        "def build():\n    return models.squeezenet1_1()\n"
    )
    (tmp_path / "late.py").write_text(
        "def build():\n    from torchvision import models\n\n    return models.squeezenet1_1()\n"
    )
    (tmp_path / "later.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def forward(self, x):\n"
        "        from torchvision.ops import stochastic_depth\n\n        return stochastic_depth(x, 1, 'row', False)\n"
    )
    code = (
        "import sys, torch\nfrom intriguing.data.factories import resolve\n"
        "from intriguing.models import build_model\n"
        "what = {what!r}\n"
        "if what == 'later:Net':\n    x = torch.rand(2, 3, 4, 4)\n"
        "    assert torch.equal(build_model(what, (3, 4, 4), 2, seed=0)(x), x)\n"
        "elif what == 'torchvision.models:squeezenet1_1':\n    assert resolve(what)().num_classes == 1000\n"
        "else:\n    assert build_model(what, (3, 64, 64), 1000, seed=0).num_classes == 1000\n"
        "import torchvision.datasets, torchvision.transforms\n"
    )
    for what in ("zoo:build", "late:build", "later:Net", "torchvision.models:squeezenet1_1"):
        subprocess.run([sys.executable, "-c", code.format(what=what)], check=True, timeout=250, cwd=tmp_path)


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
