"""Run a sweep: `python jobs/full_sweep.py [SPEC] [OPTIONS of intriguing run]`; without a spec, `full`.

For `ray submit ray-cluster.yaml jobs/full_sweep.py`, `ray job submit -- python jobs/full_sweep.py` and laptops alike:
where a cluster is running it runs there, elsewhere in this process.
"""

import sys

from intriguing.cli import main

if __name__ == "__main__":
    arguments = sys.argv[1:]
    named = bool(arguments) and not arguments[0].startswith("-")
    main(["run", *([] if named else ["full"]), *arguments])
