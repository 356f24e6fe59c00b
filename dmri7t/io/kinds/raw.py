"""Raw BIDS data: scans as they were acquired."""

from __future__ import annotations

from dmri7t.io.kinds.base import NOTHING_HERE, Kind


class Raw(Kind):
    """What no other kind has recognised."""

    name = "raw"
    title = "raw BIDS data"
    validated = True
    remark = (
        "raw: neither motion nor distortion was corrected, and dmri7t corrects neither. QSIPrep "
        "does: give its results instead, or --derivatives qsiprep=PATH."
    )
    methods = (
        f"The scan came from a raw data set: {NOTHING_HERE}, and none is known of before them."
    )
    heading = "It was not corrected for motion and distortion"
    caveat = (
        "The scan came from a raw data set, and dmri7t does not correct motion, eddy currents or "
        "susceptibility distortion: whatever of them is in the input is in the output too. Run "
        "QSIPrep first and give its results to dmri7t."
    )
    usage = """\
**Raw BIDS data** are taken as they come: dmri7t corrects neither motion nor distortion. Log and
report say so. QSIPrep is the way.
"""


KIND = Raw()
