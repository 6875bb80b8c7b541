"""The blind spots (section 4.1): how small a change makes a model wrong?"""

from intriguing.engine.task import Code
from intriguing.stages.blind_spots.functions import FUNCTIONS
from intriguing.stages.blind_spots.spec import BlindSpotsSpec, agree
from intriguing.stages.common.stage import Stage

STAGE = Stage(
    name="blind_spots",
    section=BlindSpotsSpec,
    agree=agree,
    plan=Code("intriguing.stages.blind_spots.plan:plan"),
    functions=FUNCTIONS,
    check_model=Code("intriguing.stages.blind_spots.preflight:check_model"),
    question=3,
    drawn=Code("intriguing.stages.blind_spots.figures:figures"),
    page=Code("intriguing.stages.blind_spots.page:parts"),
    headline=Code("intriguing.stages.blind_spots.page:headline"),
    verdicts=Code("intriguing.stages.blind_spots.verdicts:verdicts"),
    printed=Code("intriguing.stages.blind_spots.printed:printed"),
    also=("distortions",),
    tables=("distortions",),
)
