"""What is here: Python and libraries, devices, Ray, memory, disk, data; and which specs of the package can run."""

import platform
import shutil
from importlib import metadata
from pathlib import Path

from intriguing.basics.process.memory import available_memory
from intriguing.basics.version import __version__
from intriguing.data import KNOWN, data_root, dataset_hash
from intriguing.data.vision import needs_mending
from intriguing.engine.pools.ray_address import find_cluster
from intriguing.errors import IntriguingError
from intriguing.sweep.spec import load_spec, spec_names

_LIBRARIES = ("torch", "torchvision", "ray", "numpy", "pyarrow", "gensim")


def examine(root: str | None = None) -> dict[str, str]:
    """Sentences by topic. Nothing is written, downloaded or started; a Ray cluster is asked for 3 or 15 seconds."""
    import torch

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    cluster = find_cluster()
    here = _datasets(root)
    found = {
        "intriguing": f"{__version__}, Python {platform.python_version()} on {platform.system()} {platform.machine()}",
        "libraries": ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES),
        "devices": ", ".join(cuda) or f"no GPU; CPU threads: {torch.get_num_threads()}",
        "memory": f"{available_memory() / 1e9:.1f} GB available",
        "disk": f"{shutil.disk_usage(Path.cwd()).free / 1e9:.1f} GB free in the working folder",
        "Ray": f"a cluster answers at {cluster.address}: `--executor auto` runs there"
        if cluster.is_usable
        else "no cluster answers: runs work in this process, or with `--executor ray` on a Ray of this machine",
        "data": f"in {data_root(root)}: {', '.join(n for n, why in here.items() if not why) or 'nothing'}",
    }
    if needs_mending():
        found["torchvision"] = (
            "is made for another kind of torch (CUDA beside CPU): by itself `import torchvision` ends in 'operator "
            "torchvision::nms does not exist'. It works here and in code that a spec names; in programs of your own "
            "write `import intriguing.data.vision` first, or install torch and torchvision from one and the same index"
        )
    for name, why in here.items():
        if why:
            found[f"data set {name}"] = f"not here: {why}"
    for name in spec_names():
        missing = [d for d in _needs(name) if here.get(d)]
        found[f"spec {name}"] = f"needs {', '.join(missing)}" if missing else "can run"
    return found


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "is missing"


def _datasets(root: str | None) -> dict[str, str]:
    """Per named data set, why it cannot be read; "" where it can."""
    reasons = {}
    for name in KNOWN:
        try:
            dataset_hash(name, root)
            reasons[name] = ""
        except IntriguingError as error:
            reasons[name] = str(error)
    return reasons


def _needs(name: str) -> list[str]:
    """The data sets that a spec cannot do without."""
    datasets = load_spec(name).datasets
    return [
        described.source or called
        for called, described in datasets.items()
        if not described.optional and not described.instead
    ]
