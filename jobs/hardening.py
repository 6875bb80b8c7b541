"""Does hardening help? `python jobs/hardening.py [SPEC] [OPTIONS of intriguing run]`; without a spec, `hardening`.

Runs the spec (where a Ray cluster is running it runs there, elsewhere in this process), then prints the variants and
the answer to each claim. `--results FILE` runs nothing: it writes what is finished so far into FILE, as Markdown, in
place of what an earlier call wrote of the same spec.
"""

import argparse
from pathlib import Path

from intriguing.cli.job import leave, opened, run_job
from intriguing.stages.hardening.outcome.written import write_into
from intriguing.stages.hardening.printed import printed


def main() -> int:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--results", help="write the results so far into this file, as Markdown; nothing is run")
    own, arguments = parser.parse_known_args()
    if own.results:
        write_into(Path(own.results), opened(arguments, default="hardening"))
        return 0
    code, run = run_job(arguments, default="hardening")
    if run is not None:
        print(f"\n{printed(run)}")
    return code


if __name__ == "__main__":
    leave(main())
