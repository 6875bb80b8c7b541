"""Are single units special? `python jobs/units.py [SPEC] [OPTIONS of intriguing run]`; without a spec, `units`.

Runs the spec (where a Ray cluster is running it runs there, elsewhere in this process), then prints the verdict of
every test of a trained network, the effects in a table, and, where the design is crossed, the answer to "model or
data?" in a sentence for each score.
"""

import sys

from intriguing.cli.job import leave, run_job
from intriguing.stages.units.printed import printed


def main() -> int:
    code, run = run_job(sys.argv[1:], default="units")
    if run is not None:
        print(f"\n{printed(run) or f'Nothing was tested; `intriguing show {run.path} failures` may say why.'}")
    return code


if __name__ == "__main__":
    leave(main())
