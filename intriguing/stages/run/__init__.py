"""The run itself: what was run, and what failed."""

from intriguing.engine.task import Code
from intriguing.stages.common.stage import Stage

STAGE = Stage(
    name="run",
    page=Code("intriguing.stages.run.page:parts"),
    headline=Code("intriguing.stages.run.page:headline"),
)
