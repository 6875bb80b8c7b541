"""The stages of a sweep, in the paper's order: reading this list is reading the paper's table of contents.

A stage is a folder: `spec.py` (its section of a spec), `plan.py` (its tasks), `tasks.py` (what they compute),
`page.py` (its part of the page). The science that it calls lies in the package's other folders.
"""

from intriguing.stages import blind_spots, errors, hardening, models, paper, run, stability, transfer, units, words
from intriguing.stages.common.stage import Stage

STAGES: tuple[Stage, ...] = (
    run.STAGE,  # what was run, and what failed: a part of the page alone
    models.STAGE,  # what a sweep looks at: data sets and models
    hardening.STAGE,  # section 4.1: does training on what the searches find help? It adds models to the sweep
    units.STAGE,  # section 3: do single units mean more than random directions?
    errors.STAGE,  # how often are loaded models wrong? It uses what the units' stage saw of them
    blind_spots.STAGE,  # section 4.1: how small a change makes a model wrong?
    stability.STAGE,  # section 4.3: how far can a change carry, and what is proven of the smallest one?
    transfer.STAGE,  # section 4.2: does it fool the others too?
    paper.STAGE,  # the paper's tables 1 to 4 and its claims, beside what was found
    words.STAGE,  # the follow-up study: section 3's question, asked of word vectors
)
