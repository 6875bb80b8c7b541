"""Transfer (section 4.2): does what fools one model fool the others?"""

from intriguing.engine.task import Code
from intriguing.stages.common.stage import Stage
from intriguing.stages.transfer.functions import FUNCTIONS
from intriguing.stages.transfer.spec import TransferSpec, agree

STAGE = Stage(
    name="transfer",
    section=TransferSpec,
    agree=agree,
    plan=Code("intriguing.stages.transfer.plan:plan"),
    functions=FUNCTIONS,
    question=4,
    drawn=Code("intriguing.stages.transfer.figures:figures"),
    page=Code("intriguing.stages.transfer.page:parts"),
    verdicts=Code("intriguing.stages.transfer.verdicts:verdicts"),
    printed=Code("intriguing.stages.transfer.printed:printed"),
    tables=("transfer",),
)
