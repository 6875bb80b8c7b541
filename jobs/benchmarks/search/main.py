"""The minimal-distortion search against its peers: distance over the best known, success, passes, speed.

    python jobs/benchmark.py search [--quick] [--images 256] [--sets 1,2] [--models FC10,CNN] [--no-peers]
                                    [--scipy-images 32] [--kept NAME,NAME] [--kept-only]
                                    [--out outputs/benchmark-search] [--markdown FILE]

Trains five networks from a seed on the images of the package, twice: on set 1 the search was developed, set 2 has other
networks and other images. Ratios are per image, over the exact optimum for the linear models and over the best that any
method found for the others. Speeds are images per CPU-second of one thread, everything in this one process. A success
counts when the bare model gives the wanted class on the returned float32 image, clipped to the box.

--kept names peers whose results stay in the user's cache, under the content of network and images: a later run with the
same option reads them there, the speed of that earlier run included. The peers whose speed a target names (BB-100,
DDN-100, DDN-1000, PDGD-500, the SciPy loop) are better measured anew.
"""

import argparse
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from benchmarks.kept import Kept, digest
from benchmarks.search import models as search_models
from benchmarks.search import targets
from benchmarks.search.peers import Cell, Peer, available, scipy_loop
from torch import Tensor

from intriguing import SearchOptions, minimal_distortion
from intriguing.data import load_dataset
from intriguing.models.feeding.rows import Counted, Passes
from intriguing.randomness import generator

LINEAR = ("FC10", "softmax low confidence")
OURS = ("best", "fast", "faithful")


def main(argv: list[str]) -> int:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(prog="benchmark.py search", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="64 images, no peers but DDN-100 and BB-100, 4 by SciPy")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--sets", default="1,2")
    parser.add_argument("--models", default=",".join(search_models.BUILD))
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--peers", help="only these, by commas")
    parser.add_argument("--scipy-images", type=int, default=32, help="for the three models of the paper's kind")
    parser.add_argument("--kept", default="", help="peers that are not run again where their results are on disk")
    parser.add_argument("--kept-only", action="store_true", help="run the peers of --kept, and no more")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark-search"))
    parser.add_argument("--markdown", type=Path, help="also write the tables there")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    if arguments.quick:
        arguments.images, arguments.scipy_images = 64, 4
    peers, missing = ([], []) if arguments.no_peers else available()
    if not arguments.peers:
        peers = [p for p in peers if p.name != "BB-1000"]
    if arguments.quick:
        peers = [p for p in peers if p.name in ("DDN-100", "BB-100")]
    if arguments.peers:
        peers = [p for p in peers if p.name in arguments.peers.split(",")]
    lines, rows, kept = [*missing], [], tuple(filter(None, arguments.kept.split(",")))
    if arguments.kept_only:
        _keep(arguments, [p for p in peers if p.name in kept])
        return 0
    for number in map(int, arguments.sets.split(",")):
        for name, errors, cells in cells_of(number, arguments.models.split(","), arguments.images):
            for mode, cell in cells.items():
                lines.append(f"\n### Set {number}, {name} (test error {errors:.1f} %), {mode}\n")
                table = measured(cell, name, peers, arguments.scipy_images if name in targets.THREE else 0, kept)
                rows += [{"set": number, "model": name, "mode": mode, **row} for row in table]
                write(rows, arguments.out / f"search-{arguments.sets.replace(',', '-')}.parquet")
                lines += markdown(table)
                print("\n".join(lines), flush=True)
                lines, done = [], lines
                if arguments.markdown:
                    with arguments.markdown.open("a") as file:
                        file.write("\n".join(done) + "\n")
    summary = "\n".join(["\n### Targets\n", *targets.table(rows)])
    print(summary)
    if arguments.markdown:
        with arguments.markdown.open("a") as file:
            file.write(summary + "\n")
    return 0


def _keep(arguments: argparse.Namespace, peers: list[Peer]) -> None:
    """Run these peers on all cells and keep what they find."""
    for number in map(int, arguments.sets.split(",")):
        for name, _, cells in cells_of(number, arguments.models.split(","), arguments.images):
            for mode, cell in cells.items():
                for peer in peers:
                    if not _suits(peer, cell):
                        continue
                    _, row = judged_once(cell, peer)
                    print(f"set {number}, {name}, {mode}: {peer.name}: {row['per_second']:.1f} a second", flush=True)


def write(rows: list[dict], path: Path) -> None:
    """All rows so far, whatever happens to the next cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: [row.get(name) for row in rows] for name in {k: None for row in rows for k in row}}
    pq.write_table(pa.table(columns), path)


def cells_of(number: int, names: list[str], count: int) -> list[tuple[str, float, dict[str, Cell]]]:
    """The cells of a set: models of training seed `number`, and images that all of them classify correctly."""
    data = load_dataset("mnist-sample")
    train, test = (
        search_models.Split(split.pixels(np.arange(len(split))), torch.as_tensor(np.array(split.labels)).long())
        for split in (data.split("train"), data.split("test"))
    )
    models = {name: search_models.trained(name, train, number) for name in names}
    right = torch.stack([m(test.images).argmax(1) == test.labels for m in models.values()]).all(0)
    # Disjoint halves of the test images, drawn by a key.
    order = torch.from_numpy(generator(0, "benchmark images").permutation(len(right)))
    half = order[: len(order) // 2] if number == 1 else order[len(order) // 2 :]
    chosen = half[right[half]][:count]
    labels = test.labels[chosen]
    shift = [int(generator(0, "benchmark target", int(i)).integers(1, 10)) for i in chosen]
    targets = (labels + torch.tensor(shift)) % 10
    images = test.images[chosen]
    pool = train.images[:2000]
    return [
        (
            name,
            search_models.error_percent(model, test),
            {
                "targeted": Cell(model, images, labels, targets, pool),
                "untargeted": Cell(model, images, labels, None, pool),
            },
        )
        for name, model in models.items()
    ]


def _suits(peer: Peer, cell: Cell) -> bool:
    return not (peer.untargeted_only if cell.targets is not None else peer.targeted_only)


def measured(cell: Cell, name: str, peers: list[Peer], scipy_images: int, kept: Collection[str] = ()) -> list[dict]:
    """One row per method; ratios per image over the reference. kept: peers that are not run again."""
    found: dict[str, tuple[Tensor, dict]] = {}
    if name in LINEAR:
        found["exact"] = ours(cell, "best", exact="auto")
    for grade in OURS:
        found[grade] = ours(cell, grade, exact="off")
    for peer in peers:
        if _suits(peer, cell):
            judge = judged_once if peer.name in kept else judged_anew
            found[peer.name] = judge(cell, peer)
    if scipy_images:
        found["SciPy loop"] = judged(cell.first(scipy_images), scipy_loop)
    count = len(cell.images)
    distances = {
        method: torch.nn.functional.pad(l2, (0, count - len(l2)), value=torch.inf) for method, (l2, _) in found.items()
    }
    best = torch.stack(list(distances.values())).amin(0) if "exact" not in found else distances["exact"]
    others = [d for method, d in distances.items() if method not in ("exact", *OURS)]
    table = []
    for method, (l2, row) in found.items():
        ratio = (l2 / best[: len(l2)]).numpy()
        extra = {}
        if method == "best" and others:
            extra["peers_best_mean"] = float(torch.stack(others).amin(0).mean())
        if method == "faithful" and "SciPy loop" in found:
            against = (l2 / distances["SciPy loop"])[:scipy_images].numpy()
            extra |= {f"scipy_{k}": float(v) for k, v in zip(("median", "p95", "max"), spread(against), strict=True)}
        median, p95, worst = spread(ratio)
        table.append({"method": method, "images": len(l2), "median": median, "p95": p95, "max": worst, **row, **extra})
    return table


def spread(ratio: np.ndarray) -> tuple[float, float, float]:
    """Median, 95 % quantile (the next higher value) and largest."""
    return float(np.median(ratio)), float(np.quantile(ratio, 0.95, method="higher")), float(ratio.max())


def ours(cell: Cell, grade: str, exact: str) -> tuple[Tensor, dict]:
    """This package's search; the passes are those it reports."""
    options = SearchOptions(grade=grade, exact_linear=exact)
    minimal_distortion(cell.model, cell.images[:8], cell.labels[:8], None, options)
    start = time.process_time()
    result = minimal_distortion(cell.model, cell.images, cell.labels, cell.targets, options)
    seconds = time.process_time() - start
    l2, row = verdict(cell, result.adversarial, seconds)
    row["forward"] = float(result.forward_passes.double().mean())
    row["backward"] = float(result.backward_passes.double().mean())
    return l2, row


def judged_anew(cell: Cell, peer: Peer) -> tuple[Tensor, dict]:
    """A peer on as many images as it sees."""
    return judged(cell.first(peer.most), peer.run)


def judged_once(cell: Cell, peer: Peer) -> tuple[Tensor, dict]:
    """As `judged_anew`, from disk if a run before kept it there."""
    store, c = Kept(), cell.first(peer.most)
    key = digest("search", peer.name, c.model, c.images, c.labels, "none" if c.targets is None else c.targets, c.pool)
    found = store.find(key)
    if found is None:
        l2, row = judged_anew(cell, peer)
        found = {"l2": l2} | {name: torch.from_numpy(np.asarray(value)) for name, value in row.items()}
        store.add(key, found)
    return found["l2"], {name: value.item() for name, value in found.items() if name != "l2"}


def judged(cell: Cell, run: Callable[[Cell], Tensor]) -> tuple[Tensor, dict]:
    """A peer, its passes counted; its compiler, if it has one, is warmed up outside the time.

    The SciPy loop, whose calls have one row, is timed without the counter, which would cost it a tenth.
    """
    seen, alone = Passes(), run is scipy_loop
    wrapped = cell if alone else replace(cell, model=Counted(cell.model, seen))
    if not alone:
        run(wrapped.first(2))
    seen.forward = seen.backward = 0
    start = time.process_time()
    images = run(wrapped).detach()
    seconds = time.process_time() - start
    l2, row = verdict(cell, images, seconds)
    row["forward"] = np.nan if alone else seen.forward / len(images)
    row["backward"] = np.nan if alone else seen.backward / len(images)
    return l2, row


def verdict(cell: Cell, images: Tensor, seconds: float) -> tuple[Tensor, dict]:
    """Distances (inf where the bare model is not fooled) and the figures that go with them."""
    outside = bool(((images < 0) | (images > 1)).any())
    clipped = images.clamp(0, 1)
    fooled = cell.fooled(clipped)
    l2 = torch.linalg.vector_norm((clipped.double() - cell.images.double()).flatten(1), dim=1)
    changed = l2 > 0
    l2 = torch.where(fooled & changed, l2, torch.full_like(l2, torch.inf))
    return l2, {
        "success": float((fooled & changed).double().mean() * 100),
        "outside_box": outside,
        "mean": float(l2.mean()),
        "per_second": len(images) / seconds,
    }


def markdown(table: list[dict]) -> list[str]:
    """The rows as a table."""
    lines = [
        "| method | images | success % | ratio median | p95 | max | mean L2 | forward | backward | images per CPU-s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in table:
        flag = " (left the box)" if r["outside_box"] else ""
        lines.append(
            f"| {r['method']}{flag} | {r['images']} | {r['success']:.1f} | {r['median']:.4f} | {r['p95']:.4f} | "
            f"{r['max']:.4f} | {r['mean']:.4f} | {r['forward']:.0f} | {r['backward']:.0f} | {r['per_second']:.1f} |"
        )
    return lines
