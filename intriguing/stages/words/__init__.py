"""The follow-up study: do single axes of word vectors mean more than random directions?"""

from intriguing.engine.task import Code
from intriguing.stages.common.stage import Stage
from intriguing.stages.words.functions import FUNCTIONS
from intriguing.stages.words.spec import WordsSpec

STAGE = Stage(
    name="words",
    section=WordsSpec,
    inspect=Code("intriguing.stages.words.inspection:inspect"),
    plan=Code("intriguing.stages.words.plan:plan"),
    functions=FUNCTIONS,
    question=2,
    drawn=Code("intriguing.stages.words.figures:figures"),
    page=Code("intriguing.stages.words.page:parts"),
    headline=Code("intriguing.stages.words.page:headline"),
    verdicts=Code("intriguing.stages.words.verdicts:verdicts"),
    printed=Code("intriguing.stages.words.study:printed"),
    tables=("word_tests", "word_rows"),
)
