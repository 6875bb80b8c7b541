"""The word-vector study: `python jobs/words.py [SPEC] [--corpus PATH] [OPTIONS of intriguing run]`; by default `words`.

Runs the spec (where a Ray cluster is running it runs there, elsewhere in this process), then prints the study's four
tables in its own layout, and the verdict. `--corpus`, like INTRIGUING_CORPUS, names a text to use in place of the one
embedded in gensim: a file in the form of text8 or of a sentence per line, or gensim:NAME.
"""

import argparse
import os

from intriguing.cli.job import leave, run_job
from intriguing.stages.words.study import printed


def main() -> int:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--corpus", help="the text to use in place of the embedded one (INTRIGUING_CORPUS)")
    own, arguments = parser.parse_known_args()
    if own.corpus:
        os.environ["INTRIGUING_CORPUS"] = own.corpus
    code, run = run_job(arguments, default="words")
    if run is not None:
        print(f"\n{printed(run)}")
    return code


if __name__ == "__main__":
    leave(main())
