"""Data sets and models: what a sweep looks at."""

from intriguing.engine.task import Code
from intriguing.stages.common.stage import Stage
from intriguing.stages.models.functions import FUNCTIONS
from intriguing.stages.models.inspection import inspect
from intriguing.stages.models.plan import plan
from intriguing.stages.models.spec import ModelsSection, agree

STAGE = Stage(
    name="models",
    section=ModelsSection,
    at_top=True,
    inspect=inspect,
    agree=agree,
    plan=plan,
    functions=FUNCTIONS,
    headline=Code("intriguing.stages.models.page:headline"),
)
