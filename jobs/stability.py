"""Norms of layers and brackets of searches: `python jobs/stability.py [SPEC] [OPTIONS of intriguing run]`.

Runs the spec (by default `stability`; where a Ray cluster is running it runs there, elsewhere in this process), then
prints, for every model, its layers in order with norm, proven bound, share of the product, and what the formula printed
in the paper gives; then how near what is proven comes to what the searches found.
"""

import sys

from intriguing.cli.job import leave, run_job
from intriguing.stages.stability.printed import printed


def main() -> int:
    code, run = run_job(sys.argv[1:], default="stability")
    if run is not None:
        print(f"\n{printed(run) or 'The spec has no section [stability]: add one, and run it again.'}")
    return code


if __name__ == "__main__":
    leave(main())
