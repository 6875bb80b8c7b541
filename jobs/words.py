"""The word-vector study: `python jobs/words.py [SPEC] [--corpus PATH] [OPTIONS of intriguing run]`; by default `words`.

Runs the spec (where a Ray cluster is running it runs there, elsewhere in this process), then prints the study's four
tables in its own layout, and the verdict. `--corpus`, like INTRIGUING_CORPUS, names a text to use in place of the one
embedded in gensim: a file in the form of text8 or of a sentence per line, or gensim:NAME.
"""

import argparse
import os
import sys

from intriguing.cli import call
from intriguing.results import open_run
from intriguing.stages.words.study import printed
from intriguing.sweep import prepare


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the word-vector study and print its four tables and the verdict.")
    parser.add_argument("spec", nargs="?", default="words", help="a spec's name or path (default: words)")
    parser.add_argument("--corpus", help="the text to use in place of the embedded one (INTRIGUING_CORPUS)")
    parser.add_argument("--out", help="the run folder")
    arguments, rest = parser.parse_known_args()
    if arguments.corpus:
        os.environ["INTRIGUING_CORPUS"] = arguments.corpus
    out = ["--out", arguments.out] if arguments.out else []
    code = call(["run", arguments.spec, *out, *rest])
    if code in (2, 130) or "--dry-run" in rest:
        return code
    run = open_run(prepare(arguments.spec, arguments.out).out)
    print(f"\n{printed(run)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
