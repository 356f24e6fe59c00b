"""Which scans of a group stand out, by a rule that a few odd ones cannot bend."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

LIMIT = 3.5
"""Modified z-score from which a scan stands out (Iglewicz and Hoaglin 1993)."""

FEWEST = 10
"""Scans from which the rule is used: of ten like ones it still picks 1.6 in 100, of fewer more."""

NORMAL = 0.6745
"""Median absolute deviation of a normal distribution, in standard deviations."""

SAME = 1e-6
"""Part of the median up to which a deviation is rounding."""


@attrs.frozen
class Outliers:
    """Which values of like scans stand out.

    Parameters
    ----------
    scores : dict
        Modified z-score of the values that stand out, by their index.
    reason : str
        Why the rule was not used; empty where it was.
    """

    scores: dict[int, float]
    reason: str = ""


def find_outliers(values: Sequence[float | None], skewed: bool = False) -> Outliers:
    """Find the values whose modified z-score, ``0.6745 (x - median) / MAD``, is beyond the limit.

    Parameters
    ----------
    values : sequence of float
        None where there is none.
    skewed : bool
        Use square roots: for values that crowd above zero and have a long tail.

    Examples
    --------
    >>> find_outliers([1.0, 1.1, 0.9, 1.2, 0.8, 1.05, 0.95, 1.15, 0.85, None, 9.0]).scores
    {10: 43.0}
    >>> find_outliers([1.0, None, 2.0]).reason
    'too few scans (2; the rule needs 10)'
    """
    present = {i: x for i, x in enumerate(values) if x is not None and np.isfinite(x)}
    if len(present) < FEWEST:
        return Outliers({}, f"too few scans ({len(present)}; the rule needs {FEWEST})")
    x = np.array(list(present.values()), float)
    x = np.sqrt(np.maximum(x, 0)) if skewed else x
    median = np.median(x)
    deviation = np.median(np.abs(x - median))
    if deviation <= SAME * abs(median):
        return Outliers({}, "more than half of the scans have the same value")
    scores = NORMAL * (x - median) / deviation
    return Outliers(
        {
            i: round(float(score), 1)
            for i, score in zip(present, scores, strict=True)
            if abs(score) > LIMIT
        }
    )
