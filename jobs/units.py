"""Are single units special? `python jobs/units.py [SPEC] [OPTIONS of intriguing run]`; without a spec, `units`.

Runs the spec (where a Ray cluster is running it runs there, elsewhere in this process), then prints the verdict of
every test of a trained network, the effects in a table, and, where the design is crossed, the answer to "model or
data?" in a sentence for each score.
"""

import argparse
import sys

from intriguing.cli import call
from intriguing.results import open_run
from intriguing.stages.units.printed import printed
from intriguing.sweep import prepare


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the unit question, and print its verdicts.")
    parser.add_argument("spec", nargs="?", default="units", help="a spec's name or path (default: units)")
    parser.add_argument("--out", help="the run folder")
    parser.add_argument("--data", help="the folder that data sets lie in (INTRIGUING_DATA)")
    arguments, rest = parser.parse_known_args()
    given = [f"--{name}={value}" for name in ("out", "data") if (value := getattr(arguments, name))]
    code = call(["run", arguments.spec, *given, *rest])
    if code in (2, 130) or "--dry-run" in rest:
        return code
    run = open_run(prepare(arguments.spec, arguments.out, arguments.data).out)
    print(f"\n{printed(run) or f'Nothing was tested; `intriguing show {run.path} failures` may say why.'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
