"""Tables 1 to 4 and the claims: `python jobs/transfer.py [SPEC] [OPTIONS of intriguing run]`; by default `paper`.

Runs the spec (where a Ray cluster is running it runs there, elsewhere in this process), then prints our tables 1 to 4
beside the paper's, as Markdown, with the verdict on each claim. A spec of your own needs a section `[paper]`.
"""

import argparse
import sys

from intriguing.cli import call
from intriguing.results import open_run
from intriguing.stages.paper.as_text import printed
from intriguing.sweep import prepare


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the transfer question, and print tables 1 to 4 and the verdicts.")
    parser.add_argument("spec", nargs="?", default="paper", help="a spec's name or path (default: paper)")
    parser.add_argument("--out", help="the run folder")
    parser.add_argument("--data", help="the folder that data sets lie in (INTRIGUING_DATA)")
    arguments, rest = parser.parse_known_args()
    given = [f"--{name}={value}" for name in ("out", "data") if (value := getattr(arguments, name))]
    code = call(["run", arguments.spec, *given, *rest])
    if code in (2, 130) or "--dry-run" in rest:
        return code
    run = open_run(prepare(arguments.spec, arguments.out, arguments.data).out)
    said = printed(run)
    print(f"\n{said}" if said else f"Nothing was compared; `intriguing show {run.path} failures` may say why.")
    return code


if __name__ == "__main__":
    sys.exit(main())
