"""A training that goes epoch by epoch: its whole state is weights, optimiser and pools, and every draw is keyed.

So an epoch that is computed again gives the same bits, whatever ran before it in the process.
"""

import math
import time
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from intriguing import randomness
from intriguing.basics import torch_modes
from intriguing.basics.process.liveness import beat
from intriguing.basics.torch_modes import device_of
from intriguing.errors import InputError, ModelError
from intriguing.hardening.changes import Drawn, new_changes, shortened
from intriguing.hardening.cutting import Cut, dropping
from intriguing.hardening.options import HardeningOptions
from intriguing.hardening.pools import Entries, Pool, pack, unpack
from intriguing.models import TrainOptions, load_weights, resolved, save_weights
from intriguing.models.feeding.probing import trainable
from intriguing.models.fitting import Decay, Examples, cross_entropy, lone_row_left_out, optimizer_of, schedule
from intriguing.models.networks import Autoencoder

_PROBED = 64
"""Images that a cut is looked at with."""


@dataclass
class Clock:
    """What an epoch cost, in CPU-seconds of this process, and what it found."""

    seconds: float = 0.0
    """The whole epoch."""
    searching: float = 0.0
    """Its searches."""
    searched: int = 0
    """How many searches there were."""
    found: int = 0
    """How many of them found a change."""
    norms: dict[str, float] = field(default_factory=dict)
    """The root mean square of a value of the changes in use at the epoch's end, by layer."""
    loss: float = math.nan
    """The mean loss of the clean batches."""

    def after(self, earlier: "Clock") -> "Clock":
        """The clock with seconds, searches and what was found summed with those of the epochs before."""
        summed = ("seconds", "searching", "searched", "found")
        return replace(self, **{name: getattr(self, name) + getattr(earlier, name) for name in summed})


class Renewal(NamedTuple):
    """A part of an epoch's new changes: its number, and how many images of each layer are searched."""

    part: int
    images: int


class Hardening:
    """The training of `model` on `examples` with `options`, of which `training` are those that any training has.

        hardening = Hardening(model, examples, HardeningOptions("pools", ("input", "hidden1")), TrainOptions(), seed=0)
        for epoch in range(hardening.epochs):
            clock = hardening.epoch(epoch)
        checkpoint = hardening.checkpoint()     # weights, optimiser, and what the last epoch found

    `restore` continues from checkpoints; the result is the same, bit for bit, on the same machine and number of
    threads. torch's global random state is neither used nor changed.

    Raises: `InputError` for the optimiser L-BFGS, which has no epochs; `ModelError` for an autoencoder, whose layers
    are not trained together.
    """

    def __init__(
        self,
        model: nn.Module,
        examples: Examples,
        options: HardeningOptions,
        training: TrainOptions | None = None,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        check_trainable(model, training)
        self.model, self.examples, self.options = model, examples, options
        self.training = resolved(model, training)
        self.seed, self.threads = seed, threads
        self.epochs = self.training.epochs or 1
        self._parameters = [weight for weight in trainable(model).parameters() if weight.requires_grad]
        self._decay = Decay.of(model, self.training)
        self._optimizer = optimizer_of(self._parameters, self.training)
        self._pools = {layer: Pool(options.kept_epochs) for layer in self._pooled}
        self._drawn_from: dict[str, Entries | None] = {}
        self._cuts: dict[str, Cut] = {}

    @property
    def _pooled(self) -> tuple[str, ...]:
        return self.options.layers if self.options.has_pools else ()

    def checkpoint(self) -> dict[str, bytes]:
        """The state after an epoch: `weights`, `optimizer`, and `pools`, what the epoch found."""
        state = self._optimizer.state_dict()["state"]
        tensors = {f"{i}/{name}": value for i, values in state.items() for name, value in values.items()}
        flat = {name: torch.as_tensor(value).detach().cpu().contiguous().clone() for name, value in tensors.items()}
        return {
            "weights": save_weights(self.model),
            "optimizer": safetensors.torch.save(flat),
            "pools": pack({layer: pool.newest() for layer, pool in self._pools.items()}),
        }

    def restore(self, weights: bytes, optimizer: bytes, pools: list[bytes]) -> None:
        """Continue after an epoch: its weights and optimiser, and the `pools` of the last epochs, the oldest first."""
        load_weights(self.model, weights)
        tensors: dict[int, dict[str, Tensor]] = {}
        for key, value in safetensors.torch.load(optimizer).items():
            number, _, name = key.partition("/")
            tensors.setdefault(int(number), {})[name] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": tensors, "param_groups": groups})
        self._pools = unpack(pools, self._pooled, self.options.kept_epochs, device_of(self.model))

    def epoch(self, number: int) -> Clock:
        """Train for one epoch, counted from 0.

        Raises: `ModelError` when the loss becomes NaN or infinite, and where the model cannot be cut.
        """
        began, clock = time.process_time(), Clock()
        count, size = len(self.examples), self.training.batch_size or 1
        steps = math.ceil(count / size)
        order = randomness.generator(self.seed, "order of images", number).permutation(count).astype(np.int64)
        batches = torch.from_numpy(order).to(device_of(self.model)).split(size)
        renewed = self._renewals(number, steps)
        draws = randomness.generator(self.seed, "draws from the pools", number)
        total, seen = 0.0, 0
        with torch_modes.threads(self.threads), torch.random.fork_rng(devices=[]):
            torch.manual_seed(randomness.torch_seed(self.seed, "hardening", number))
            self._pools = {layer: pool.begun() for layer, pool in self._pools.items()}
            self._drawn_from = {layer: pool.together() for layer, pool in self._pools.items()}
            self.model.train()
            for step, rows in enumerate(batches):
                beat()
                if step in renewed:
                    self._renew(number, renewed[step], clock)
                rate = (self.training.learning_rate or 0.0) * schedule(
                    (number * steps + step) / (self.epochs * steps), self.training.warm_up or 0.0
                )
                for group in self._optimizer.param_groups:
                    group["lr"] = rate
                with lone_row_left_out(rows, size, count):
                    self._optimizer.zero_grad(set_to_none=True)
                    total += self._backward(rows, step, draws) * len(rows)
                    self._decay.add_gradient()
                    self._optimizer.step()
                    seen += len(rows)
            self.model.eval()
        clock.loss = total / seen
        if not math.isfinite(clock.loss):
            raise ModelError(
                f"Training diverged: the loss is {clock.loss} in epoch {number + 1}. Lower learning_rate, or weight."
            )
        clock.norms = {layer: rms for layer, pool in self._pools.items() if (rms := _rms(pool)) is not None}
        clock.seconds = time.process_time() - began
        return clock

    def _renewals(self, number: int, steps: int) -> dict[int, Renewal]:
        """The steps of an epoch at which new changes are searched, with what is searched; none in the first epoch.

        A network that has not learnt anything yet errs on most images, and its changes would teach nothing. All parts
        together have `new_per_epoch` images, also where an epoch has fewer steps than there are renewals.
        """
        if not self._pooled or number == 0:
            return {}
        new = self.options.new_per_epoch
        times = min(self.options.renewals, new, steps)
        return {
            part * steps // times: Renewal(part, (part + 1) * new // times - part * new // times)
            for part in range(times)
        }

    def _renew(self, number: int, renewal: Renewal, clock: Clock) -> None:
        """Search new changes for a part of the epoch's images, for each layer."""
        began = time.process_time()
        for layer in self._pooled:
            drawn = self._images_of(layer, number, renewal)
            entries = new_changes(self._cut(layer), drawn, self.options, self.seed, layer, number, renewal.part)
            self._pools[layer] = self._pools[layer].with_(entries)
            self._drawn_from[layer] = self._pools[layer].together()
            clock.searched += len(drawn.positions)
            clock.found += len(entries)
        self.model.train()
        for weight in self._parameters:
            weight.requires_grad_(True)
        clock.searching += time.process_time() - began

    def _images_of(self, layer: str, number: int, renewal: Renewal) -> Drawn:
        """The images of a part of an epoch's searches: some of those of the oldest changes, and others drawn anew.

        The same image may come twice in an epoch, with another network each time. Noise is no start for a search.
        """
        random = randomness.generator(self.seed, "images of a pool", layer, number, renewal.part)
        oldest = self._pools[layer].oldest()
        again = 0 if oldest is None else min(round(self.options.revisited * renewal.images), len(oldest))
        new = random.choice(len(self.examples), min(renewal.images - again, len(self.examples)), replace=False)
        rows = torch.from_numpy(new.astype(np.int64)).to(self.examples.labels.device)
        warm = None
        if oldest is not None and again:
            index = torch.from_numpy(random.choice(len(oldest), again, replace=False)).to(rows.device)
            rows = torch.cat([oldest.positions[index], rows])
            if self.options.method == "pools":
                changes = oldest.changes[index].float()
                warm = torch.cat([changes, changes.new_zeros(len(new), *changes.shape[1:])])
        return Drawn(self.examples.inputs(rows), self.examples.labels[rows], rows, warm)

    def _cut(self, layer: str) -> Cut:
        """The model cut at a layer, with the box of its present activations."""
        probe = self.examples.inputs(torch.arange(min(_PROBED, len(self.examples)), device=device_of(self.model)))
        self._cuts[layer] = Cut(self.model, layer, probe)
        return self._cuts[layer]

    def _backward(self, rows: Tensor, step: int, draws: np.random.Generator) -> float:
        """Add the gradients of a step to the weights'; returns the loss of its clean batch.

        Layers take turns: each step mixes the clean batch with changed examples of one layer.
        """
        images, labels = self.examples.inputs(rows), self.examples.labels[rows]
        options = self.options
        with dropping(self.model, options.dropped, options.dropout):
            clean = cross_entropy(self.model(images), labels)
        weight, changed = 0.0, None
        if options.method == "pgd":
            weight, changed = options.weight, cross_entropy(self.model(self._perturbed(images, labels)), labels)
        elif self._pooled:
            layer = self._pooled[step % len(self._pooled)]
            entries = self._drawn_from[layer]
            if entries is not None:
                weight = options.weight * min(1.0, len(entries) / options.pool_size)
                changed = self._on_pool(layer, entries, max(1, len(rows) // 2), draws)
        loss = clean if changed is None else (1 - weight) * clean + weight * changed
        loss.backward()
        return float(clean.detach())

    def _on_pool(self, layer: str, entries: Entries, count: int, draws: np.random.Generator) -> Tensor:
        """The loss of `count` changed examples, drawn from a pool."""
        index = torch.from_numpy(draws.integers(0, len(entries), count)).to(entries.positions.device)
        rows = entries.positions[index]
        cut = self._cuts[layer]
        images = self.examples.inputs(rows)
        outputs = cut.forward_changed(images, entries.changes[index].float(), fixed=self.options.below == "fixed")
        return cross_entropy(outputs, self.examples.labels[rows])

    def _perturbed(self, images: Tensor, labels: Tensor) -> Tensor:
        """`images` (B, *shape), moved against the network by projected gradient steps in the L2 ball and the box.

        Source: Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks", section 2.1, in L2;
        without a random start.
        """
        radius, steps = self.options.radius, self.options.steps
        length = radius if steps == 1 else 2.5 * radius / steps
        moved = images
        for _ in range(steps):
            leaf = moved.detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(cross_entropy(self.model(leaf), labels), leaf)
            change = moved + length * _normalised(slope) - images
            moved = (images + shortened(change, radius)).clamp(0, 1)
        return moved.detach()


def check_trainable(model: nn.Module, training: TrainOptions | None) -> None:
    """Raise where a model cannot be hardened: `InputError` for L-BFGS, `ModelError` for an autoencoder."""
    if isinstance(model, Autoencoder):
        raise ModelError("an autoencoder's layers are trained one after the other, so it cannot be hardened")
    if resolved(model, training).optimizer == "lbfgs":
        raise InputError(
            "a hardened training goes by epochs, and L-BFGS has none: write optimizer = 'adam' (or 'sgd'), "
            "with epochs, batch_size and learning_rate, in its training"
        )


def _normalised(slope: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(slope.flatten(1), dim=1).clamp(min=1e-30)
    return slope / norm.reshape(-1, *[1] * (slope.ndim - 1))


def _rms(pool: Pool) -> float | None:
    """The root mean square of all values of a pool's changes; None for an empty one."""
    entries = pool.together()
    return None if entries is None else float(entries.changes.float().square().mean().sqrt())
