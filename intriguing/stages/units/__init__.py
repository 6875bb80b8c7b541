"""The unit question (section 3): do single units mean more than random directions of the same space?"""

from intriguing.engine.task import Code
from intriguing.stages.common.stage import Stage
from intriguing.stages.units.functions import FUNCTIONS
from intriguing.stages.units.spec import UnitsSpec, agree

STAGE = Stage(
    name="units",
    section=UnitsSpec,
    agree=agree,
    plan=Code("intriguing.stages.units.plan:plan"),
    functions=FUNCTIONS,
    stored_bytes=Code("intriguing.stages.units.estimate:stored_bytes"),
    question=1,
    drawn=Code("intriguing.stages.units.figures:figures"),
    page=Code("intriguing.stages.units.page:parts"),
    headline=Code("intriguing.stages.units.page:headline"),
    verdicts=Code("intriguing.stages.units.verdicts:verdicts"),
    printed=Code("intriguing.stages.units.printed:printed"),
    tables=("rotation_tests", "unit_scores", "topk"),
)
