"""Does hardening help? `python jobs/hardening.py [SPEC] [OPTIONS of intriguing run]`; without a spec, `hardening`.

Runs the spec (where a Ray cluster is running it runs there, elsewhere in this process), then prints the variants and
the answer to each claim. `--results FILE` runs nothing: it writes what is finished so far to FILE,
as Markdown, in place of what stands below the line that names this command.
"""

import argparse
import sys
from pathlib import Path

from intriguing.cli.job import opened, run_job
from intriguing.stages.hardening.printed import printed
from intriguing.stages.hardening.written import written

MARK = "<!-- below: written by `python jobs/hardening.py --results` -->"


def rewrite(path: Path, results: str) -> None:
    """Put `results` below the mark of the file, which is made where it is not there."""
    above = path.read_text(encoding="utf-8").partition(MARK)[0] if path.exists() else ""
    path.write_text(f"{above}{MARK}\n\n{results}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--results", help="write the results so far to this file, as Markdown; nothing is run")
    own, arguments = parser.parse_known_args()
    if own.results:
        rewrite(Path(own.results), written(opened(arguments, default="hardening")))
        return 0
    code, run = run_job(arguments, default="hardening")
    if run is not None:
        print(f"\n{printed(run)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
