"""How often a loaded model is wrong: its row of the table `models`, from what collection saw of it where it did."""

from intriguing.stages.common.stage import Stage
from intriguing.stages.errors.functions import FUNCTIONS
from intriguing.stages.errors.plan import plan

STAGE = Stage(name="errors", plan=plan, functions=FUNCTIONS)
