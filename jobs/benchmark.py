"""Benchmarks: `python jobs/benchmark.py NAME [OPTIONS]`, NAME one of the modules or folders named below."""

import os
import sys
from importlib import import_module
from pathlib import Path

NAMES = {
    "search": "the minimal-distortion search against its peers, quality and speed",
    "photos": "the search on a photo network of 1,000 classes, beside DDN",
    "hard": "the search on residual, robust and other hard networks, and its distance by passes",
    "kinds": "the search on networks of other kinds: what stands before, inside or behind an ordinary one",
    "device": "the search on an accelerator: examples per second, the model's share of the time",
    "sweep": "a whole sweep of photos beside the bare forward passes that it needs",
    "units": "collection, the top-K scan and the rotation test",
    "engine": "a plan of a hundred thousand tasks",
    "cluster": "on Ray: CPU of the driver a task, how soon a lost task is at work again, two workers",
    "stability": "operator norms and certificates: quality and CPU time",
    "recipes": "how the training of the paper's networks was chosen, on held-out images",
    "codes": "other codes of the autoencoder, on held-out images",
    "page": "the page of the largest run: seconds, memory, bytes, first paint",
    "transfer": "a transfer matrix against the bare forward passes that it needs",
}


def main(argv: list[str]) -> int:
    """Run one benchmark; its own options follow its name."""
    if not argv or argv[0] not in NAMES:
        listed = "\n".join(f"  {name:9s} {what}" for name, what in NAMES.items())
        print(f"usage: python jobs/benchmark.py NAME [--help]\n\n{listed}", file=sys.stderr)
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    # One thread for all, the linear algebra of NumPy and SciPy included, which read this when they are imported.
    os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    here = Path(__file__).resolve().parent
    sys.path.insert(0, str(here))
    is_folder = (here / "benchmarks" / argv[0]).is_dir()
    return import_module(f"benchmarks.{argv[0]}{'.main' if is_folder else ''}").main(argv[1:]) or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
