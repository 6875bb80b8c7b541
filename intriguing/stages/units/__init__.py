"""The unit question (section 3): do single units mean more than random directions of the same space?"""

from intriguing.engine.task import Code
from intriguing.stages.common.stage import Stage
from intriguing.stages.units.estimate import stored_bytes
from intriguing.stages.units.functions import FUNCTIONS
from intriguing.stages.units.plan import plan
from intriguing.stages.units.spec import UnitsSpec, agree

STAGE = Stage(
    name="units",
    section=UnitsSpec,
    agree=agree,
    plan=plan,
    functions=FUNCTIONS,
    stored_bytes=stored_bytes,
    question=1,
    drawn=Code("intriguing.stages.units.figures:figures"),
    page=Code("intriguing.stages.units.page:parts"),
    headline=Code("intriguing.stages.units.page:headline"),
    verdicts=Code("intriguing.stages.units.verdicts:verdicts"),
    printed=Code("intriguing.stages.units.printed:printed"),
    tables=("rotation_tests", "unit_scores", "topk"),
)
