"""Does hardening help? `python jobs/hardening.py [SPEC] [OPTIONS of intriguing run]`; without a spec, `hardening`.

Runs the spec (where a Ray cluster is running it runs there, elsewhere in this process), then prints the variants and
the answer to each claim. `--results FILE` runs nothing: it writes what is finished so far to FILE,
as Markdown, in place of what stands below the line that names this command.
"""

import argparse
import sys
from pathlib import Path

from intriguing.cli import call
from intriguing.results import open_run
from intriguing.stages.hardening.printed import printed
from intriguing.stages.hardening.written import written
from intriguing.sweep import prepare

MARK = "<!-- below: written by `python jobs/hardening.py --results` -->"


def rewrite(path: Path, results: str) -> None:
    """Put `results` below the mark of the file, which is made where it is not there."""
    above = path.read_text(encoding="utf-8").partition(MARK)[0] if path.exists() else ""
    path.write_text(f"{above}{MARK}\n\n{results}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the hardening question, and print its answers.")
    parser.add_argument("spec", nargs="?", default="hardening", help="a spec's name or path (default: hardening)")
    parser.add_argument("--out", help="the run folder")
    parser.add_argument("--data", help="the folder that data sets lie in (INTRIGUING_DATA)")
    parser.add_argument("--results", help="write the results so far to this file, as Markdown; nothing is run")
    arguments, rest = parser.parse_known_args()
    given = [f"--{name}={value}" for name in ("out", "data") if (value := getattr(arguments, name))]
    code = 0 if arguments.results else call(["run", arguments.spec, *given, *rest])
    if code in (2, 130) or "--dry-run" in rest:
        return code
    run = open_run(prepare(arguments.spec, arguments.out, arguments.data).out)
    if arguments.results:
        rewrite(Path(arguments.results), written(run))
    else:
        print(f"\n{printed(run)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
