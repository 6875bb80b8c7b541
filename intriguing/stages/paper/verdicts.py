"""What a run says of the paper's claims, a sentence each."""

from intriguing.report.parts import Context
from intriguing.report.verdicts import Verdict
from intriguing.stages.paper.reading import readings
from intriguing.stages.paper.wording import bounds, value


def verdicts(context: Context) -> list[Verdict]:
    """A verdict per claim and data set."""
    found = readings(context.run)
    return [
        Verdict(
            row["sentence"] if len(found) == 1 else f"{row['sentence'].rstrip('.')} ({reading.dataset}).",
            row["measure"],
            value(row),
            f"95 % interval {bounds(row)}; {row['pairs']} pairs of networks",
            "paper",
            row["refuted_by"],
        )
        for reading in found
        for row in reading.of_figure("claim")
        if row["value"] is not None
    ]
