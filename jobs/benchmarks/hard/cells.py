"""The cells of the second development set, the methods that are compared on them, and what each method found.

A cell is a network with images that it classifies right, targeted or not. Peers run on a few images at a time, and what
they found is kept on disk under its content, so that a run that was cut short goes on where it stopped.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import product
from pathlib import Path

import torch
from benchmarks.hard import models
from benchmarks.kept import Kept, digest, source_digest
from benchmarks.search.peers import Cell, attack, available, compile_brendel_bethge, from_every_class
from torch import Tensor

import intriguing
from intriguing import SearchOptions, minimal_distortion
from intriguing.models.feeding.rows import Counted, Passes
from intriguing.randomness import generator

MODES = ("targeted", "untargeted")
PEERS = ("DDN-1000", "PDGD-1000", "ALMA-1000", "BB-1000")
_SOURCES = tuple(Path(intriguing.__file__).parent / name for name in ("blind_spots", "models"))
_BEST = SearchOptions(exact_linear="off")
_POOL, _STARTS = 2000, 256


@dataclass(frozen=True)
class HardCell:
    """A network of the set in one mode."""

    network: str
    mode: str
    cell: Cell
    chunk: int
    """Number of images that a peer gets at a time."""

    @cached_property
    def content(self) -> str:
        """A hash of the network and of the training images."""
        return digest(self.cell.model, self.cell.pool)

    @property
    def training(self) -> models.Training:
        """How the network was made."""
        return models.TRAININGS[self.network]

    def parts(self, method: "Method", count: int) -> list[Cell]:
        """The first `count` images as a method gets them: all at once, or some at a time."""
        size = count if method.together else self.chunk
        cell = self.cell
        slices = [slice(start, min(start + size, count)) for start in range(0, count, size)]
        targets = [None if cell.targets is None else cell.targets[s] for s in slices]
        return [
            replace(cell, images=cell.images[s], labels=cell.labels[s], targets=t)
            for s, t in zip(slices, targets, strict=True)
        ]


@dataclass(frozen=True)
class Method:
    """A way to search, and its part in the comparison."""

    name: str
    run: Callable[[Cell], Tensor]
    kind: str
    """ours, peer, or reference (a long run, of which only the distance counts)."""
    together: bool = False
    """Whether it gets all images at once, since its rows and its speed are compared; the others get some at a time."""
    identity: str = ""
    """What else decides its results: its results are computed anew when this changes."""
    untargeted_only: bool = False
    cheap_only: bool = False
    """Whether it is left out on networks whose rows are dear."""

    def suits(self, cell: HardCell) -> bool:
        """Whether it runs on this cell."""
        allowed = cell.mode == "untargeted" or not self.untargeted_only
        return allowed and not (self.cheap_only and cell.training.dear)


@cache
def _splits(data: str, cifar: Path | None) -> tuple[models.Split, models.Split] | None:
    return models.splits(data, cifar)


def cells_of(network: str, cifar: Path | None, count: int, number: int = 1) -> list[HardCell]:
    """Both cells of a network, with `count` images; empty where its data are absent.

    number: of the set. Set 2 has networks of another training seed, and its images begin at the other end.
    """
    training = models.TRAININGS[network]
    parts = _splits(training.data, cifar)
    if parts is None:
        return []
    train, test = parts
    model = models.trained(network, train, number)
    order = torch.from_numpy(generator(0, "benchmark images").permutation(len(test.labels)))
    order = (order if number == 1 else order.flip(0))[: 4 * count]
    with torch.no_grad():
        logits = torch.cat([model(test.images[index]) for index in order.split(250)])
    chosen = order[logits.argmax(1) == test.labels[order]][:count]
    classes = logits.shape[1]
    shift = [int(generator(0, "benchmark target", int(i)).integers(1, classes)) for i in chosen]
    images, labels, pool = test.images[chosen], test.labels[chosen], train.images[:_POOL].clone()
    targets = {"targeted": (labels + torch.tensor(shift)) % classes, "untargeted": None}
    chunk = 4 if training.dear else 16
    return [HardCell(network, mode, Cell(model, images, labels, targets[mode], pool), chunk) for mode in MODES]


def ours(options: SearchOptions, starts: int = 0) -> Callable[[Cell], Tensor]:
    """This search with these options, and so many training images as starts."""

    def run(c: Cell) -> Tensor:
        pool = c.pool[:starts] if starts else None
        return minimal_distortion(c.model, c.images, c.labels, c.targets, options, starts=pool).adversarial

    return run


def sources() -> str:
    """A hash of the code that decides what this search finds."""
    return digest(*(source_digest(folder) for folder in _SOURCES))


def methods(peer_names: tuple[str, ...], passes: int) -> tuple[list[Method], list[str]]:
    """This search, the peers and the long runs, and a sentence for each peer that is not installed.

    passes: of this search's long run; 0: none.
    """
    found = [
        Method("`best`", ours(_BEST), "ours", True, sources()),
        Method("`best`, with starts", ours(_BEST, _STARTS), "ours", True, sources()),
    ]
    peers, missing = available()
    by_name = {peer.name: peer for peer in peers}
    chosen = [by_name[name] for name in peer_names if name in by_name]
    found += [Method(peer.name, peer.run, "peer", untargeted_only=peer.untargeted_only) for peer in chosen]
    if passes:
        run = ours(SearchOptions(passes=passes, exact_linear="off"), _POOL)
        found.append(Method(f"this search, {passes:,} passes, with starts", run, "reference"))
    if "BB-1000" in peer_names and "BB-1000" in by_name:
        run = partial(from_every_class, steps=1000)
        found.append(Method("BB-1000 from every class", run, "reference", untargeted_only=True, cheap_only=True))
    if "PDGD-1000" in peer_names and "PDGD-1000" in by_name:
        run = attack("pdgd", num_steps=2000)
        found.append(Method("PDGD-2000", run, "reference", cheap_only=True))
    return found, missing


@dataclass(frozen=True)
class Found:
    """What a method found for some images of a cell."""

    images: Tensor
    """(B, *shape), inside the box."""
    l2: Tensor
    """(B,) in float64; infinite where the bare network does not give the wanted (another) class."""
    reached: Tensor
    """(B,) the class that the network gives what was found."""
    forward: float
    """Rows at the network per image, the examination of the model and padding included."""
    backward: float
    seconds: float
    """CPU seconds per image."""


class Runs:
    """What methods found on cells, from disk or computed."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def _key(self, cell: HardCell, method: Method, part: Cell) -> str:
        targets = "none" if part.targets is None else part.targets
        return digest(method.name, method.identity, cell.content, part.images, part.labels, targets)

    def has(self, cell: HardCell, method: Method, count: int) -> bool:
        """Whether the results of the first `count` images are there."""
        return all(self._kept.find(self._key(cell, method, part)) is not None for part in cell.parts(method, count))

    def compute(self, cell: HardCell, method: Method, count: int) -> None:
        """Run a method on those of the first `count` images that it has not seen, and keep what it found."""
        for part in cell.parts(method, count):
            if self._kept.find(key := self._key(cell, method, part)) is not None:
                continue
            if "BB-" in method.name:
                compile_brendel_bethge()
            counting = Counted(part.model, seen := Passes())
            start = time.process_time()
            images = method.run(replace(part, model=counting)).detach().clamp(0, 1)
            seconds = time.process_time() - start
            rows = torch.tensor([seen.forward, seen.backward])
            self._kept.add(key, {"images": images, "rows": rows, "seconds": torch.tensor(seconds)})
            print(f"{cell.network}, {cell.mode}, {count} images: {method.name}: {seconds:.1f} s", flush=True)

    def found(self, cell: HardCell, method: Method, count: int) -> Found:
        """What a method found for the first `count` images, judged by the bare network; computed if it is not kept."""
        self.compute(cell, method, count)
        parts = [self._kept.find(self._key(cell, method, part)) or {} for part in cell.parts(method, count)]
        images = torch.cat([part["images"] for part in parts])
        rows, seconds = (torch.stack([part[name].double() for part in parts]).sum(0) for name in ("rows", "seconds"))
        c = cell.cell.first(count)
        with torch.no_grad():
            reached = torch.cat([c.model(some).argmax(1) for some in images.split(cell.chunk)])
        l2 = torch.linalg.vector_norm((images.double() - c.images.double()).flatten(1), dim=1)
        won = (reached != c.labels if c.targets is None else reached == c.targets) & (l2 > 0)
        forward, backward = (rows / count).tolist()
        return Found(images, l2.where(won, torch.inf), reached, forward, backward, float(seconds) / count)


def jobs(cells: list[HardCell], every: list[Method]) -> Iterator[tuple[HardCell, Method, int]]:
    """What the peers and the long runs have to do: the first images of all cells by all methods, then more of all.

    A job is a cell, a method and the number of images that it shall have seen after it.
    """
    longest = max((-(-len(cell.cell.images) // cell.chunk) for cell in cells), default=0)
    for number, cell, method in product(range(longest), cells, every):
        if number * cell.chunk < len(cell.cell.images) and method.suits(cell) and not method.together:
            yield cell, method, min((number + 1) * cell.chunk, len(cell.cell.images))


def finished(cell: HardCell, every: list[Method], runs: Runs) -> int:
    """Number of images that all peers and long runs of a cell have seen."""
    counts = [count for one, _, count in jobs([cell], every) if one is cell]
    peers = [method for method in every if method.suits(cell) and not method.together]
    done = [count for count in counts if all(runs.has(cell, method, count) for method in peers)]
    return max(done, default=0) if peers else len(cell.cell.images)
