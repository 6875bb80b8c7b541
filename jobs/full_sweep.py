"""Run a sweep: `python jobs/full_sweep.py [SPEC] [OPTIONS of intriguing run]`; without a spec, `full`.

For `ray submit ray-cluster.yaml jobs/full_sweep.py`, `ray job submit -- python jobs/full_sweep.py` and laptops alike:
where a cluster is running it runs there, elsewhere in this process.
"""

import sys

from intriguing.cli.job import leave, run_job

if __name__ == "__main__":
    leave(run_job(sys.argv[1:], default="full")[0])
