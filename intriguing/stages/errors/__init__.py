"""How often a loaded model is wrong: its row of the table `models`, from what collection saw of it where it did."""

from intriguing.engine.task import Code
from intriguing.stages.common.stage import Stage
from intriguing.stages.errors.functions import FUNCTIONS

STAGE = Stage(name="errors", plan=Code("intriguing.stages.errors.plan:plan"), functions=FUNCTIONS)
