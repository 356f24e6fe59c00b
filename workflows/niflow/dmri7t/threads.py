"""How many threads nodes get that run side by side."""

from __future__ import annotations


def beside(omp_nthreads: int) -> int:
    """Threads of a node that has a node of its size to run at the same time.

    No node keeps many threads busy all the time: parts of each are one thread's. Two nodes with
    half the threads each end sooner than one after the other with all.

    Examples
    --------
    >>> beside(1), beside(2), beside(5)
    (1, 1, 2)
    """
    return max(1, omp_nthreads // 2)
