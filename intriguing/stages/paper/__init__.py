"""The paper's tables 1 to 4 and its claims of transfer, beside what a sweep found."""

from intriguing.engine.task import Code
from intriguing.stages.common.stage import Stage
from intriguing.stages.paper.functions import FUNCTIONS
from intriguing.stages.paper.spec import PaperSpec, agree

STAGE = Stage(
    name="paper",
    section=PaperSpec,
    agree=agree,
    plan=Code("intriguing.stages.paper.plan:plan"),
    functions=FUNCTIONS,
    question=0,
    drawn=Code("intriguing.stages.paper.figures:figures"),
    page=Code("intriguing.stages.paper.page:parts"),
    verdicts=Code("intriguing.stages.paper.verdicts:verdicts"),
    printed=Code("intriguing.stages.paper.printed:printed"),
    tables=("paper_comparison",),
)
