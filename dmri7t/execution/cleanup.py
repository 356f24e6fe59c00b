"""Removing what a run left in its work folder, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from dmri7t.execution.estimate import size_gb

OWN_FILES = ("status.json",)
"""What a run puts beside the folders of its nodes."""


def clean(names: Iterable[str], work_dir: Path) -> float:
    """Remove the folders of a run's nodes; whatever else lies in the work folder stays.

    Parameters
    ----------
    names : iterable of str
        Full names of the nodes, the workflow's first.
    work_dir : Path

    Returns
    -------
    float
        What was freed, GiB.
    """
    work_dir = Path(work_dir).resolve()
    freed, parents = 0.0, set()
    for name in names:
        folder = work_dir.joinpath(*name.split("."))
        if folder.is_dir() and not folder.is_symlink():
            freed += size_gb(folder, alone=True)
            shutil.rmtree(folder)
        parents |= {p for p in folder.parents if work_dir in p.parents}
    # the deepest first, so that those above are empty in their turn
    for parent in sorted(parents, key=lambda p: -len(p.parts)):
        for file in OWN_FILES:
            (parent / file).unlink(missing_ok=True)
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
    return freed
