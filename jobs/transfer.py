"""Tables 1 to 4 and the claims: `python jobs/transfer.py [SPEC] [OPTIONS of intriguing run]`; by default `paper`.

Runs the spec (where a Ray cluster is running it runs there, elsewhere in this process), then prints our tables 1 to 4
beside the paper's, as Markdown, with the verdict on each claim. A spec of your own needs a section `[paper]`.
"""

import sys

from intriguing.cli.job import leave, run_job
from intriguing.stages.paper.printed import printed


def main() -> int:
    code, run = run_job(sys.argv[1:], default="paper")
    if run is not None:
        print(f"\n{printed(run) or f'Nothing was compared; `intriguing show {run.path} failures` may say why.'}")
    return code


if __name__ == "__main__":
    leave(main())
