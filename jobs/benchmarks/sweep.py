"""A whole sweep of photos beside the bare forward passes that it needs.

    python jobs/benchmark.py sweep [--count 200] [--network resnet18] [--layers layer4] [--attacked 8] [--right 0.25]
                                   [--slots 256] [--mode store] [--photos DIR] [--out outputs/benchmark-sweep]

The photos are made: `--count` JPEG files of 300 to 500 pixels a side, in ten classes; with --photos they are cut out of
the photos of a folder, each another part of one (as they are, if there are so many). The network is torchvision's with
random weights, its last bias set so that the classes are equally likely, and a share `--right` of the photos lies in
the class that it gives them. The sweep takes the top 3 of each unit and direction in two bases, `--attacked` photos for
an untargeted search, and the transfer of what was found.

CPU time of all tasks, in this process, on one thread, against what is needed: every photo once through the network, in
batches of 8; every forward and backward row of a search, one by one, as its result counts them; and every found image
once more for the transfer. Rows are counted at the network by a hook. What decoding the photos once takes is printed
beside it, and is not a part of what is needed. Without searches every eighth batch of a collection is fed to a bare
copy of the network too, outside of the tasks' time, and the ratio is also given with what a row takes there: it does
not change with what else the machine does.
"""

import argparse
import copy
import resource
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import intriguing as ig
from intriguing.data.decoding import PhotoOptions, decode
from intriguing.engine.pools import pool
from intriguing.models import build_model, predict, save_weights

CLASSES, SIZE = 10, 224


def main(argv: list[str]) -> None:
    """Make the photos and the network, run the sweep, and print what it took beside what it needs."""
    options = _options(argv)
    torch.set_num_threads(1)
    shutil.rmtree(options.out, ignore_errors=True)
    net, photos = _made(options)
    seen = Rows(net)
    tasks = _sweep(options, seen)
    run = ig.open_run(options.out / "run")
    rows = Counter(photos=len(photos))
    for search in run.table("distortions").to_pylist():
        rows.update({name: search[f"{name}_passes"] for name in ("forward", "backward")})
        rows["transfer"] += search["status"] == "found"
    _report(options, tasks, rows, seen, _costs(net, photos))


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmark.py sweep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="photos")
    parser.add_argument("--network", default="resnet18", help="a classification model of torchvision")
    parser.add_argument("--layers", default="layer4", help="layers, with commas between them")
    parser.add_argument("--attacked", type=int, default=8, help="photos to attack; 0: no searches, no transfer")
    parser.add_argument("--right", type=float, default=0.25, help="share of the photos in the class that it gives them")
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--mode", choices=["store", "stream"], default="store")
    parser.add_argument("--photos", type=Path, help="a folder of JPEG files to cut photos out of")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark-sweep"), help="is removed first")
    return parser.parse_args(argv)


class Rows:
    """By kind of task, the rows that networks of the class of `net` see and the CPU seconds of their forward passes."""

    EVERY = 8
    """One of so many batches of a collection is also fed to `net` itself, whose rows and seconds are the bare ones."""

    def __init__(self, net: nn.Module) -> None:
        self.kind = type(net)
        self.forward, self.backward = Counter[str](), Counter[str]()
        self.seconds = defaultdict[str, float](float)
        self.task = ""
        self.bare_rows, self.bare_seconds = 0, 0.0
        self._bare = copy.deepcopy(net)
        self._batches = 0
        self._began = 0.0

    def before(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """The hook before a module runs."""
        if type(module) is self.kind and module is not self._bare:
            self.forward[self.task] += len(inputs[0])
            self._began = time.process_time()

    def after(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """The hook after a module ran."""
        if module is self._bare:
            return
        if type(module) is self.kind:
            self.seconds[self.task] += time.process_time() - self._began
            self._batches += self.task == "activations"
            if self.task == "activations" and self._batches % self.EVERY == 0:
                began = time.process_time()
                self._bare(inputs[0])
                self.bare_seconds += time.process_time() - began
                self.bare_rows += len(inputs[0])
        if type(module) is self.kind and isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda gradient: self.backward.update({self.task: len(gradient)}))


def _made(options: argparse.Namespace) -> tuple[nn.Module, list[Path]]:
    """The network, saved beside the photos, and the photos in their classes' folders."""
    random, loose = np.random.default_rng(0), options.out / "loose"
    loose.mkdir(parents=True)
    photos = [loose / f"{i:06d}.jpg" for i in range(options.count)]
    real = sorted(options.photos.glob("*.jpg")) if options.photos else []
    for i, photo in enumerate(photos):
        if i < len(real):
            shutil.copy(real[i], photo)
        else:
            image = _part(real[i % len(real)], random) if real else _made_up(random)
            image.save(photo, quality=90)
    net = build_model(f"torchvision:{options.network}", (3, SIZE, SIZE), CLASSES, {}, seed=0).eval()
    logits = torch.cat([predict(net, _pixels(photos[i : i + 8]), 8) for i in range(0, len(photos), 8)])
    head = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        head.bias.sub_(logits.mean(0))
    classes = (logits - logits.mean(0)).argmax(1).numpy()
    wrong = random.random(len(classes)) >= options.right
    classes = np.where(wrong, (classes + random.integers(1, CLASSES, len(classes))) % CLASSES, classes)
    classes[:CLASSES] = np.arange(min(CLASSES, len(classes)))  # no class is empty
    for i, photo in enumerate(photos):
        folder = options.out / "photos" / "test" / f"class{classes[i]}"
        folder.mkdir(parents=True, exist_ok=True)
        photos[i] = photo.rename(folder / photo.name)
    (options.out / "net.safetensors").write_bytes(save_weights(net))
    return net, photos


def _part(photo: Path, random: np.random.Generator) -> Image.Image:
    """A part of a photo, of 0.6 to 1 of each side, mirrored or not."""
    with Image.open(photo) as opened:
        image = opened.convert("RGB")
    width, height = (int(side * random.uniform(0.6, 1)) for side in image.size)
    left, top = (int(random.integers(0, room + 1)) for room in (image.width - width, image.height - height))
    image = image.crop((left, top, left + width, top + height))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image


def _made_up(random: np.random.Generator) -> Image.Image:
    """Smooth colours with grain, of 300 to 500 pixels a side."""
    width, height = (int(side) for side in random.integers(300, 501, 2))
    coarse = random.integers(0, 256, (random.integers(4, 60), random.integers(4, 60), 3), np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grain = random.integers(-12, 13, image.shape)
    return Image.fromarray(np.clip(image + grain, 0, 255).astype(np.uint8))


def _pixels(photos: list[Path]) -> Tensor:
    images = np.stack([decode(photo, PhotoOptions()) for photo in photos])
    return torch.from_numpy(images).float() / 255


def _sweep(options: argparse.Namespace, seen: Rows) -> dict[str, float]:
    """CPU seconds of all tasks by their kind."""
    spec: dict[str, Any] = {
        "name": "benchmark-sweep",
        "datasets": {"photos": {"source": f"imagefolder:{options.out.resolve() / 'photos'}"}},
        "models": {
            "net": {
                "architecture": f"torchvision:{options.network}",
                "weights": str(options.out / "net.safetensors"),
                "layers": options.layers.split(","),
            }
        },
        "units": {"k": 3, "mode": options.mode},
        "compute": {"slots": options.slots},
    }
    if options.attacked:
        spec |= {"blind_spots": {"images": options.attacked, "target_rules": ["untargeted"]}, "transfer": {}}
    seconds, run_call = defaultdict[str, float](float), pool.run_call

    def timed(call: Any, *rest: Any) -> Any:
        seen.task, bare, began = call.task.split("/")[0], seen.bare_seconds, time.process_time()
        try:
            return run_call(call, *rest)
        finally:
            seconds[seen.task] += time.process_time() - began - (seen.bare_seconds - bare)
            seen.task = "outside of tasks"

    hooks = [
        nn.modules.module.register_module_forward_pre_hook(seen.before),
        nn.modules.module.register_module_forward_hook(seen.after),
    ]
    seen.task = "outside of tasks"
    with mock.patch.object(pool, "run_call", timed):
        ig.run(spec, options.out / "run", "inline", progress=False)
    for hook in hooks:
        hook.remove()
    return seconds


def _costs(net: nn.Module, photos: list[Path]) -> dict[str, float]:
    """CPU seconds, the mean over 64 photos: a forward row among eight, one alone, a backward row, decoding a photo."""
    began = time.process_time()
    images = _pixels(photos[:64])
    decoding = (time.process_time() - began) / len(images)

    def mean(size: int, work: Callable[[Tensor], Any]) -> float:
        work(images[:size])
        began = time.process_time()
        for batch in images.split(size):
            work(batch)
        return (time.process_time() - began) / len(images)

    def both(batch: Tensor) -> None:
        leaf = batch.clone().requires_grad_()
        torch.autograd.grad(net(leaf).amax(), leaf)

    net.requires_grad_(False)
    with torch.inference_mode():
        together, alone = mean(8, net), mean(1, net)
    backward = max(0.0, mean(1, both) - alone)
    return {"photos": together, "transfer": together, "forward": alone, "backward": backward, "decode": decoding}


def _report(
    options: argparse.Namespace, tasks: dict[str, float], rows: Counter[str], seen: Rows, costs: dict[str, float]
) -> None:
    print(
        f"{options.network}, {options.count} photos at {SIZE}, layers {options.layers}, {options.attacked} attacked\n"
    )
    print("| task | CPU s | of it forward passes | forward rows | backward rows |\n|---|---|---|---|---|")
    for name in sorted({*tasks, *seen.forward}, key=lambda name: -tasks.get(name, 0)):
        print(
            f"| {name} | {tasks.get(name, 0):.2f} | {seen.seconds[name]:.2f} | {seen.forward[name]} | "
            f"{seen.backward[name]} |"
        )
    needed = sum(rows[name] * costs[name] for name in rows)
    total = sum(tasks.values())
    decoding = options.count * costs["decode"]
    listed = ", ".join(f"{rows[name]} {name} rows at {1000 * costs[name]:.1f} ms" for name in rows)
    print(f"\nneeded: {listed}: {needed:.1f} s; the tasks took {total:.1f} s: {total / needed:.2f} x")
    print(f"decoding every photo once: {decoding:.1f} s; with it the tasks took {total / (needed + decoding):.2f} x")
    if seen.bare_rows and not options.attacked:
        # A row's time on a machine that is shared changes from minute to minute: here it is that of the same minutes.
        bare = options.count * seen.bare_seconds / seen.bare_rows
        print(f"with bare passes between the batches: {bare:.1f} s for the photos: {total / bare:.2f} x")
    print(f"largest resident memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")
