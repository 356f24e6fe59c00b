"""Numbers as options of the commands take them: what cannot be is one line that says what can."""

from __future__ import annotations

import argparse
import math


def whole(text: str, least: int = 0) -> int:
    """Read a whole number from ``least`` on.

    Raises
    ------
    ArgumentTypeError
    """
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if number < least:
        raise argparse.ArgumentTypeError(f"{text}: must be {least} or more")
    return number


def count(text: str) -> int:
    """Read how many there are, one or more.

    Examples
    --------
    >>> count("3")
    3
    """
    return whole(text, 1)


def above_zero(text: str) -> float:
    """Read a number above zero, such as a size or a b-value.

    Examples
    --------
    >>> above_zero("1.05")
    1.05

    Raises
    ------
    ArgumentTypeError
    """
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return number


def fraction(text: str) -> float:
    """Read a number from 0 (off) to 1.

    Raises
    ------
    ArgumentTypeError
    """
    number = _number(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text}: must lie between 0 (off) and 1")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def seed(text: str) -> int:
    """Read the seed of random numbers.

    Raises
    ------
    ArgumentTypeError
    """
    number = whole(text)
    if number >= 2**63:
        raise argparse.ArgumentTypeError(f"{text}: must be below 2 to the 63rd")
    return number
