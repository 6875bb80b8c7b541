"""Stability (section 4.3): how far can a change carry, and below which distance does nothing go wrong?"""

from intriguing.engine.task import Code
from intriguing.stages.common.stage import Stage
from intriguing.stages.stability.functions import FUNCTIONS
from intriguing.stages.stability.spec import StabilitySpec, agree

STAGE = Stage(
    name="stability",
    section=StabilitySpec,
    agree=agree,
    plan=Code("intriguing.stages.stability.plan:plan"),
    functions=FUNCTIONS,
    question=6,
    drawn=Code("intriguing.stages.stability.figures:figures"),
    page=Code("intriguing.stages.stability.page:parts"),
    headline=Code("intriguing.stages.stability.page:headline"),
    verdicts=Code("intriguing.stages.stability.verdicts:verdicts"),
    printed=Code("intriguing.stages.stability.printed:printed"),
    also=("norms",),
    tables=("operator_norms",),
)
