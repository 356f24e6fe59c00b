"""Which scans of a group stand out, by a rule that a few odd ones cannot bend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LIMIT = 3.5
"""Modified z-score from which a scan stands out (Iglewicz and Hoaglin 1993)."""

FEWEST = 10
"""Scans from which the rule is used: of ten like ones it still picks 1.6 in 100, of fewer more."""

NORMAL = 0.6745
"""Median absolute deviation of a normal distribution, in standard deviations."""

SAME = 1e-6
"""Part of the median up to which a deviation is rounding."""


@dataclass(frozen=True)
class Judged:
    """What the rule says of one figure of like scans.

    Parameters
    ----------
    scores : dict
        Modified z-score of the scans that stand out, by their place.
    why_not : str
        Why the rule was not used; empty where it was.
    """

    scores: dict[int, float]
    why_not: str = ""


def judge(values: Sequence[float | None], skewed: bool = False) -> Judged:
    """Find the values whose modified z-score, ``0.6745 (x - median) / MAD``, is beyond the limit.

    Parameters
    ----------
    values : sequence of float
        None where there is none.
    skewed : bool
        Judge square roots: of values that crowd above zero and have a long tail.

    Examples
    --------
    >>> judge([1.0, 1.1, 0.9, 1.2, 0.8, 1.05, 0.95, 1.15, 0.85, None, 9.0]).scores
    {10: 43.0}
    >>> judge([1.0, None, 2.0]).why_not
    'too few scans (2; the rule needs 10)'
    """
    places = [i for i, value in enumerate(values) if value is not None and np.isfinite(value)]
    if len(places) < FEWEST:
        return Judged({}, f"too few scans ({len(places)}; the rule needs {FEWEST})")
    found = np.array([values[i] for i in places], float)
    found = np.sqrt(np.maximum(found, 0)) if skewed else found
    middle = np.median(found)
    spread = np.median(np.abs(found - middle))
    if spread <= SAME * abs(middle):
        return Judged({}, "more than half of the scans have the same value")
    scores = NORMAL * (found - middle) / spread
    return Judged(
        {
            i: round(float(score), 1)
            for i, score in zip(places, scores, strict=True)
            if abs(score) > LIMIT
        }
    )
