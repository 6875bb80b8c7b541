"""A user's model whose process is killed in the middle of a training, once: a real kill -9 in mid-epoch."""

import os
import signal
from pathlib import Path

from torch import nn

STEPS = {"seen": 0}


class Dies(nn.Module):
    """Two layers. Its `at`-th training step kills the process, unless the file `mark` is there."""

    def __init__(self, inputs, classes, mark, at):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(inputs, 12), nn.ReLU())
        self.logits = nn.Linear(12, classes)
        self.mark, self.at = Path(mark), at

    def forward(self, x):
        if self.training:
            STEPS["seen"] += 1
            if STEPS["seen"] == self.at and not self.mark.exists():
                self.mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return self.logits(self.hidden(x.flatten(1)))


def dies(shape, classes, mark, at):
    return Dies(shape[0] * shape[1] * shape[2], classes, mark, at)
