"""How the work of a sweep is cut and run."""

from typing import Literal

from pydantic import Field

from intriguing.stages.common.section import Section


class ComputeSpec(Section):
    """How the work is cut and run. None of it changes a result."""

    executor: Literal["auto", "inline", "strict", "ray"] = "auto"
    """Where tasks run: this process, or Ray; auto is Ray where a cluster is running."""
    workers: int | None = Field(default=None, ge=1)
    """How many Ray actors; by default one per GPU, or one per CPU."""
    gpus_per_worker: float | None = Field(default=None, ge=0)
    """How much of a GPU each actor holds; by default 1 where there are GPUs."""
    threads: int = Field(default=1, ge=1)
    """Threads of each task; more make it faster where there are CPUs for them."""
    start_seconds: float | None = Field(default=None, gt=0)
    """Seconds to wait for a first worker; by default 900 on a cluster (machines are set up), 120 on this machine."""
    slots: int = Field(default=256, ge=1)
    """Rows of a batch, at most. Where a row is cheap, batches are padded to a multiple of 32; where it is dear, to 4 at
    most."""
    rows_per_shard: int = Field(default=1_024, ge=1)
    """Inputs per activation shard."""
    rotations_per_shard: int = Field(default=250, ge=1)
    """Random rotations per task."""
    searches_per_shard: int = Field(default=256, ge=1)
    """Searches per task."""
    attempts: int = Field(default=3, ge=1)
    """How often a task is tried when its worker is lost (killed, out of memory, its machine gone)."""
    task_seconds: float = Field(default=3_600.0, gt=0)
    """Seconds without a sign of life after which a task counts as hung and its worker is killed; a user's own data set
    has as long to load."""
    check_seconds: float = Field(default=120.0, gt=0)
    """Seconds that the first check of a user's own model may take: to build it and feed it a few images."""
