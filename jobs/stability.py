"""Norms of layers and brackets of searches: `python jobs/stability.py [SPEC] [OPTIONS of intriguing run]`.

Runs the spec (by default `stability`; where a Ray cluster is running it runs there, elsewhere in this process), then
prints, for every model, its layers in order with norm, proven bound, share of the product, and what the formula printed
in the paper gives; then how near what is proven comes to what the searches found.
"""

import argparse
import sys

from intriguing.cli import call
from intriguing.results import open_run
from intriguing.stages.stability.printed import printed
from intriguing.sweep import prepare


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a spec with its stage of stability, and print what it says.")
    parser.add_argument("spec", nargs="?", default="stability", help="a spec's name or path (default: stability)")
    parser.add_argument("--out", help="the run folder")
    arguments, rest = parser.parse_known_args()
    out = ["--out", arguments.out] if arguments.out else []
    code = call(["run", arguments.spec, *out, *rest])
    if code in (2, 130) or "--dry-run" in rest:
        return code
    text = printed(open_run(prepare(arguments.spec, arguments.out).out))
    print(text or f"{arguments.spec} has no section [stability]: add one, and run it again.")
    return code


if __name__ == "__main__":
    sys.exit(main())
