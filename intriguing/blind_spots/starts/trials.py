"""Other starts of some rows of a search, side by side."""

from dataclasses import dataclass, field

from torch import Tensor

from intriguing.blind_spots.solvers.loop import State
from intriguing.blind_spots.solvers.penalty import PenaltySearch
from intriguing.blind_spots.solvers.primal_dual import PrimalDual
from intriguing.blind_spots.starts.further_starts import Segment

Start = PenaltySearch | PrimalDual | Segment


@dataclass(frozen=True)
class Trial:
    """Another start of some rows."""

    solver: Start
    index: Tensor
    """(I,) the rows."""
    inputs: State = field(default_factory=dict)
    """Inputs of the solver besides those of the rows, or in place of them."""
    least: int = 0
    """Passes that it takes at least."""


def parts(state: State, pieces: list[Trial] | list[State]) -> list[State]:
    """The rows of a state that belong to each of the pieces, which follow one another."""
    sizes = [len(piece.index if isinstance(piece, Trial) else piece["index"]) for piece in pieces]
    split = {name: value.split(sizes) for name, value in state.items()}
    return [{name: value[i] for name, value in split.items()} for i in range(len(sizes))]
