"""Hardening (section 4.1): does training on what the searches find help?"""

from intriguing.engine.task import Code
from intriguing.stages.common.stage import Stage
from intriguing.stages.hardening.functions import FUNCTIONS
from intriguing.stages.hardening.spec import HardeningSpec, agree

STAGE = Stage(
    name="hardening",
    section=HardeningSpec,
    agree=agree,
    plan=Code("intriguing.stages.hardening.plan:plan"),
    functions=FUNCTIONS,
    check_model=Code("intriguing.stages.hardening.preflight:check_model"),
    question=7,
    drawn=Code("intriguing.stages.hardening.figures:figures"),
    page=Code("intriguing.stages.hardening.page:parts"),
    verdicts=Code("intriguing.stages.hardening.verdicts:verdicts"),
    printed=Code("intriguing.stages.hardening.printed:printed"),
    tables=("hardening",),
)
