"""Seeds of simulated subjects: a range of their own for each use, so that none serves two.

A subject (head, protocol, noise) is drawn from its seed alone. Models learn on some subjects,
choices are made on others, and what is reported was measured on subjects of neither.
"""

from __future__ import annotations

import attrs

from dmri7t.errors import InputError


@attrs.frozen
class Subjects:
    """A range of seeds.

    Parameters
    ----------
    use : str
        What the subjects are for, in the words of messages.
    first : int
        Their first seed.
    size : int
        How many there are.
    """

    use: str
    first: int
    size: int

    @property
    def stop(self) -> int:
        """The seed behind their last one."""
        return self.first + self.size

    def take(self, n: int, skip: int = 0) -> range:
        """Seeds of ``n`` subjects, after the first ``skip`` of the range.

        Raises
        ------
        InputError
            If they are not all within the range.

        Examples
        --------
        >>> Subjects("tests", 100, 10).take(2, skip=3)
        range(103, 105)
        >>> Subjects("tests", 100, 10).take(8, skip=3)
        Traceback (most recent call last):
        ...
        dmri7t.errors.InputError: simulated subjects for tests: seeds 103 to 110 are not all \
among theirs, 100 to 109; ask for fewer subjects, or for another first seed.
        """
        seeds = range(self.first + skip, self.first + skip + n)
        if skip < 0 or seeds.stop > self.stop:
            raise InputError(
                f"simulated subjects for {self.use}: seeds {seeds.start} to {seeds.stop - 1} are "
                f"not all among theirs, {self.first} to {self.stop - 1}; ask for fewer subjects, "
                "or for another first seed."
            )
        return seeds

    def take_from(self, first: int, n: int) -> range:
        """Seeds of ``n`` subjects from the seed ``first`` on; see :meth:`take`."""
        return self.take(n, first - self.first)


TRAINING = Subjects("training", 0, 1_000_000)
"""Recipes say how many; the first of them are remembered by the comparison with training, too."""

VALIDATION = Subjects("validation", 1_000_000, 500_000)
"""Losses that training shows are measured on them."""

INTERVAL_FIT = Subjects("fitting the uncertainty", 1_500_000, 50_000)
"""The widths of intervals are fitted to them."""

NOVELTY_THRESHOLDS = Subjects("setting the alarms' thresholds", 1_550_000, 150_000)
"""What few of them reach sets off an alarm."""

INTERVAL_CHECK = Subjects("checking the uncertainty", 1_700_000, 60_000)
"""On them it is counted how often intervals hold the truth."""

NOVELTY_CHECK = Subjects("counting alarms", 1_760_000, 90_000)
"""On them false alarms, and faults that are found, are counted."""

SHARES = Subjects("fitting the shares", 1_850_000, 50_000)
"""How much each network adds is fitted to them."""

LINEAR_FIT = Subjects("fitting the linear scaling", 1_900_000, 100_000)
"""The linear scaling of the tables is fitted to them."""

HELD_OUT = Subjects("evaluation", 2_000_000, 1_000_000)
"""The tables are measured on them."""

REALITY = Subjects("comparison with real scans", 3_000_000, 1_000_000)
"""They are scanned by the protocols of real scans."""

RANGES = (
    TRAINING,
    VALIDATION,
    INTERVAL_FIT,
    NOVELTY_THRESHOLDS,
    INTERVAL_CHECK,
    NOVELTY_CHECK,
    SHARES,
    LINEAR_FIT,
    HELD_OUT,
    REALITY,
)
"""All of them, in the order of their seeds."""

HEADS_A_DATASET = 1000
"""Whole heads that one seed of a data set gives."""


def dataset_heads(seed: int) -> Subjects:
    """Whole heads that ``dmri7t-model simulate`` writes with a seed.

    They are drawn by a stream of random numbers that no other simulation uses: a head shares
    nothing with the subject of the same number above.

    Raises
    ------
    InputError
        If the seed is negative.
    """
    if seed < 0:
        raise InputError(f"--seed {seed}: is negative; give 0 or more.")
    return Subjects(f"the data set of seed {seed}", HEADS_A_DATASET * seed, HEADS_A_DATASET)
