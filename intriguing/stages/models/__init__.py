"""Data sets and models: what a sweep looks at."""

from intriguing.engine.task import Code
from intriguing.stages.common.stage import Stage
from intriguing.stages.models.functions import FUNCTIONS
from intriguing.stages.models.spec import ModelsSection, agree

STAGE = Stage(
    name="models",
    section=ModelsSection,
    at_top=True,
    inspect=Code("intriguing.stages.models.inspection:inspect"),
    agree=agree,
    plan=Code("intriguing.stages.models.plan:plan"),
    functions=FUNCTIONS,
    headline=Code("intriguing.stages.models.page:headline"),
    notes=Code("intriguing.stages.models.notes:notes"),
)
