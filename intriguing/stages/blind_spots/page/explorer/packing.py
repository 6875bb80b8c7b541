"""The searches as what the page's script reads."""

import numpy as np

from intriguing.report.attachments import Attachment, Scaled, packed
from intriguing.report.parts import Row
from intriguing.stages.blind_spots.page.explorer.reading import SEARCHES, STATUSES, Searches


def packed_searches(searches: Searches, pictured: np.ndarray) -> tuple[Attachment, Row]:
    """The searches as an attachment, and what the script must know of them.

    pictured: (n,) the rows that have pictures, in the pictures' order.
    """
    columns: dict[str, np.ndarray] = {
        "group": searches.columns["group"].astype(np.uint16),
        "status": searches.columns["status"].astype(np.uint8),
        "picture": pictured.astype(np.int32),
    }
    columns |= {name: searches.columns[name].astype(np.int32) for name in SEARCHES}
    ends = {}
    for name in ("distortion", "linf", "bound"):
        values = searches.columns[name]
        scaled = Scaled.of(np.where(values > 0, values, np.nan), logarithmic=True)
        columns[name], ends[name] = scaled.codes, scaled.ends
    examples = searches.columns["example"]
    is_small = len(examples) == 0 or np.abs(examples).max() < 2**31
    if is_small:
        columns["example"] = examples.astype(np.int32)
    names = "\n".join(searches.names[pictured].tolist())
    about: Row = {
        "data": "searches",
        "statuses": [*(s.replace("_", " ") for s in STATUSES), "other"],
        "ends": ends,
        "names": names,
        "rows": searches.rows,
        "examples": None if is_small else examples.astype(str).tolist(),
    }
    return Attachment("searches", packed(columns)), about
