"""Other codes for AE400-10: `python jobs/benchmark.py codes [--data FOLDER] [--only TEXT]`.

Would a dropout code, a k-sparse code or noise in the code let a softmax err less than the recipe's? The encoder of each
candidate is trained on 50,000 images of MNIST's training set, the softmax as by the recipe; errors are of those and of
the other 10,000, never of the test set. What every candidate shares is the recipe of that time: cross-entropy of the
pixels, a mean code of 0.1, noise of 0.3, and eight epochs where the recipe has 48 now. Prints a Markdown table.

Sources: Srivastava et al. 2014, Journal of Machine Learning Research 15, 1929-1958 (dropout); Makhzani and Frey 2013,
arXiv:1312.5663 (k-sparse codes).
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.recipes import held_out
from torch import Tensor, nn

from intriguing.data import Dataset, load_dataset
from intriguing.models.encoder import fit_head
from intriguing.models.fitting import Examples, schedule
from intriguing.models.options import GENERAL, TrainOptions

UNITS, EPOCHS, BATCH, RATE, WARM_UP = 400, 8, 256, 1e-2, 0.1
SPARSITY, DECAY = 0.1, 1e-4
HEAD = TrainOptions(optimizer="lbfgs", epochs=150, weight_decay=1e-5)


@dataclass(frozen=True)
class Code:
    """How the encoder is trained.

    corruption: the standard deviation of noise on the pixels. masked: the share of pixels set to 0. dropout: the share
    of units set to 0 before the decoder. winners: how many units are left of each code (0: all). code_noise: the
    standard deviation of noise before the sigmoid. tied: the decoder's weights are the encoder's. penalty: the weight
    of the divergence from the mean code.
    """

    corruption: float = 0.3
    masked: float = 0.0
    dropout: float = 0.0
    winners: int = 0
    code_noise: float = 0.0
    tied: bool = False
    penalty: float = 2.0


CANDIDATES = {
    "dropout of half of the code": Code(dropout=0.5),
    "dropout of half of the code, a fifth of the pixels masked": Code(dropout=0.5, corruption=0.0, masked=0.2),
    "dropout of half of the code, no penalty": Code(dropout=0.5, penalty=0.0),
    "k-sparse, k = 40, no penalty": Code(winners=40, penalty=0.0),
    "k-sparse, k = 100, no penalty": Code(winners=100, penalty=0.0),
    "noise of 1 in the code": Code(code_noise=1.0),
    "noise of 1 in the code, dropout of half of it": Code(code_noise=1.0, dropout=0.5),
    "tied weights": Code(tied=True),
}


def main(argv: list[str]) -> None:
    """Train the candidates whose names hold `--only`, and print a line for each."""
    parser = argparse.ArgumentParser(prog="jobs/benchmark.py codes", description=__doc__)
    parser.add_argument("--data", help="the folder that MNIST lies in (INTRIGUING_DATA)")
    parser.add_argument("--only", default="", help="train only candidates whose names hold this")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    dataset = held_out(load_dataset("mnist", arguments.data))
    print("| code | training error, % | held-out error, % | mean code | CPU-s |\n|---|---|---|---|---|")
    for name, code in CANDIDATES.items():
        if arguments.only in name:
            print(f"| {name} | {' | '.join(judged(dataset, code))} |", flush=True)


def judged(dataset: Dataset, code: Code) -> tuple[str, ...]:
    """Training error, held-out error, mean code and CPU-seconds of one candidate, as text."""
    began = time.process_time()
    splits = [dataset.split(name) for name in ("train", "test")]
    images = [split.pixels(np.arange(len(split))).flatten(1) for split in splits]
    linear = train(images[0], code)
    with torch.no_grad():
        codes = [torch.cat([torch.sigmoid(linear(part)) for part in x.split(4096)]) for x in images]
    labels = [torch.tensor(split.labels) for split in splits]
    head = nn.Linear(UNITS, dataset.classes)
    fit_head(head, Examples(codes[0].__getitem__, labels[0]), HEAD.over(GENERAL), 0)
    with torch.no_grad():
        errors = [float((head(c).argmax(1) != y).float().mean()) for c, y in zip(codes, labels, strict=True)]
    seconds = time.process_time() - began
    return f"{100 * errors[0]:.2f}", f"{100 * errors[1]:.2f}", f"{float(codes[0].mean()):.3f}", f"{seconds:.0f}"


def train(images: Tensor, code: Code) -> nn.Linear:
    """The encoder's layer before its sigmoid, trained on `images` (N, pixels)."""
    torch.manual_seed(0)
    pixels = images.shape[1]
    linear, decoder = nn.Linear(pixels, UNITS), nn.Linear(UNITS, pixels)
    for layer in (linear, decoder):
        nn.init.xavier_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    rng, steps, step = np.random.default_rng(0), EPOCHS * (len(images) // BATCH), 0
    theirs = [decoder.bias] if code.tied else [*decoder.parameters()]
    adam = torch.optim.Adam([*linear.parameters(), *theirs], lr=RATE)
    for _ in range(EPOCHS):
        order = torch.from_numpy(rng.permutation(len(images)))
        for rows in order[: len(images) // BATCH * BATCH].split(BATCH):
            for group in adam.param_groups:
                group["lr"] = RATE * schedule(step / steps, WARM_UP)
            value = loss(linear, decoder, images[rows], code)
            adam.zero_grad()
            value.backward()
            adam.step()
            step += 1
    return linear


def loss(linear: nn.Linear, decoder: nn.Linear, x: Tensor, code: Code) -> Tensor:
    """Reconstruction of a batch (n, pixels), divergence from the mean code, and weight decay."""
    seen = x + code.corruption * torch.randn_like(x) if code.corruption else x
    if code.masked:
        seen = seen * (torch.rand_like(x) >= code.masked)
    before = linear(seen)
    hidden = torch.sigmoid(before + code.code_noise * torch.randn_like(before) if code.code_noise else before)
    kept = hidden
    if code.winners:
        kept = kept * (before >= before.topk(code.winners, dim=1).values[:, -1:])
    if code.dropout:
        kept = kept * (torch.rand_like(kept) >= code.dropout) / (1 - code.dropout)
    shown = kept @ linear.weight + decoder.bias if code.tied else decoder(kept)
    total = F.binary_cross_entropy_with_logits(shown, x) * x.shape[1]
    if code.penalty:
        mean = hidden.mean(0).clamp(1e-4, 1 - 1e-4)
        first = SPARSITY * torch.log(SPARSITY / mean)
        total = total + code.penalty * (first + (1 - SPARSITY) * torch.log((1 - SPARSITY) / (1 - mean))).sum()
    squares = linear.weight.square().sum() + (0 if code.tied else decoder.weight.square().sum())
    return total + DECAY / 2 * squares
