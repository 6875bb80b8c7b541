"""What a run answers: the plain sentences that a page opens with and `intriguing show` prints."""

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Verdict:
    """One answer, with its one figure, where its evidence stands, and what would have refuted it.

    `sentence` is plain English without figures ("Single units of cnn are purer than rotations."). `measure` says what
    `value` is ("effect in null standard deviations"); `value` and `interval` are texts that are ready to be shown, the
    interval "" where there is none. `evidence` is the slug of the part of the page that has the details.
    `refuted_by` completes "It would have been refuted by ...". `meaning` says what was measured, for those who do not
    know the word.
    """

    sentence: str
    measure: str
    value: str
    interval: str
    evidence: str
    refuted_by: str
    meaning: str = ""
    also: "tuple[Verdict, ...]" = ()
    """Verdicts of the same sentence, whose figures stand beneath this one's."""
    contrast: str = ""
    """The figure of what disagrees, which completes "and ...": "−7.9 in mlp · hidden2, where they are less pure"."""

    @property
    def figure(self) -> str:
        """The one figure in a line: what it is, its value, its interval, and the figure of what disagrees."""
        interval = f" ({self.interval})" if self.interval else ""
        return f"{self.measure}: {self.value}{interval}" + (f", and {self.contrast}" if self.contrast else "")

    def text(self) -> str:
        """The verdict as lines of text."""
        also = [f"likewise, {other.figure}" for other in self.also]
        lines = [self.sentence, self.figure, *also, self.meaning, f"It would have been refuted by {self.refuted_by}."]
        return "\n  ".join(line for line in lines if line)


def said_once(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """One verdict a sentence, in the order of the first of each; the others' figures stand beneath its own.

    Searches of several grades, or of several data sets, often give the same answer.
    """
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault((verdict.sentence, verdict.evidence), []).append(verdict)
    return [replace(first, also=tuple(others)) for first, *others in groups.values()]
