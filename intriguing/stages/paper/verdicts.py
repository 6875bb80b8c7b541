"""What a run says of the paper's claims, a sentence each."""

from intriguing.report.parts import Context
from intriguing.report.verdicts import Verdict
from intriguing.stages.paper.reading import readings
from intriguing.stages.paper.wording import bounds, p_value, value


def verdicts(context: Context) -> list[Verdict]:
    """A verdict per claim and data set."""
    found = readings(context.run)
    return [
        Verdict(
            row["sentence"] if len(found) == 1 else f"{row['sentence'].rstrip('.')} ({reading.dataset}).",
            row["measure"],
            value(row),
            f"95 % interval {bounds(row)}{p_value(row)}; {row['pairs']} pairs of networks",
            "paper",
            row["refuted_by"],
            f"Of changes as they were found (targets {reading.rule}, grade {reading.grade}), fed to networks that they "
            "were not made for; images that both networks get right unchanged are counted. A point is a hundredth of "
            "the answers.",
        )
        for reading in found
        for row in reading.of_figure("claim")
        if row["value"] is not None
    ]
