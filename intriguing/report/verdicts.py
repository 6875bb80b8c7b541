"""What a run answers: the plain sentences that a page opens with and `intriguing show` prints."""

from dataclasses import dataclass


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

    def text(self) -> str:
        """The verdict as lines of text."""
        figure = f"{self.measure}: {self.value}" + (f" ({self.interval})" if self.interval else "")
        lines = [self.sentence, figure, self.meaning, f"It would have been refuted by {self.refuted_by}."]
        return "\n  ".join(line for line in lines if line)
