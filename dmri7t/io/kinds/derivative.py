"""Results of a program that is not known here."""

from __future__ import annotations

from pathlib import Path

from dmri7t.errors import InputError
from dmri7t.io.dataset import is_derivative, makers
from dmri7t.io.kinds.base import NOTHING_HERE, Kind


class Derivative(Kind):
    """Diffusion series as they stand, when asked for."""

    name = "derivative"
    title = "the results of another program"
    link = "source"
    resampled_by = "another program"
    remark = (
        "results of another program: what was corrected is not known here, and dmri7t corrects "
        "neither motion nor distortion."
    )
    methods = (
        "The scan came from the results of another program, whose corrections are not known here; "
        f"{NOTHING_HERE}."
    )
    usage = """\
**Results of other programs** are refused, since dmri7t cannot know which of their images are what;
``--input-type bids`` takes every diffusion series of such a data set as it stands.
"""

    def recognises(self, root: Path) -> bool:
        """GeneratedBy alone is not enough: it may name a converter of raw data."""
        return is_derivative(root)

    def check_unasked(self, root: Path) -> None:
        """Whether such series can be used is for the user to say."""
        names = makers(root)
        what = "already translated" if "dmri7t" in names else "which dmri7t does not know"
        raise InputError(
            f"{root}: results of {' and '.join(names) or 'a program that is not named'}, {what}; "
            "give raw data or QSIPrep's results, or pass --input-type bids to take its diffusion "
            "series as they stand."
        )

    def describe(self, root: Path) -> str:
        """Name the programs."""
        return f"results of {' and '.join(makers(root)) or 'a program'}"


KIND = Derivative()
