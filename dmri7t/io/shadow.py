"""A data set of links to another one's files, without those that a program cannot bear."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path

LEFT_OUT = ("derivatives", "sourcedata", "code")
"""Folders of a data set that are not looked into."""


def odd_sidecars(root: Path) -> dict[str, str]:
    """Sidecars of a data set that are no JSON objects.

    Returns
    -------
    dict
        What is wrong, by name relative to the data set.
    """
    odd = {}
    for path in _sidecars(root):
        try:
            content = json.loads(path.read_bytes())
            wrong = "" if isinstance(content, dict) else "holds no JSON object"
        except (OSError, ValueError, RecursionError) as error:
            wrong = f"not readable as JSON ({error})"
        if wrong:
            odd[path.relative_to(root).as_posix()] = wrong
    return odd


def link_dataset(
    root: Path, folder: Path, without: Collection[str] = (), participants: Collection[str] = ()
) -> None:
    """Make a data set of links.

    Parameters
    ----------
    root : Path
        The data set.
    folder : Path
        Where the links go; it is there and empty.
    without : collection of str
        Files that are left out, by their names relative to the data set.
    participants : collection of str
        Names of the only participants' folders to link; empty: all.
    """
    root = Path(root).resolve()
    parents = {parent.as_posix() for name in without for parent in Path(name).parents}
    _link(root, folder, "", set(without), parents, set(participants))


def _link(
    root: Path, folder: Path, inside: str, without: set[str], parents: set[str], only: set[str]
) -> None:
    """Link what lies in a folder; folders that hold what is left out are made, not linked."""
    for entry in os.scandir(root / inside):
        name = f"{inside}/{entry.name}".lstrip("/")
        if name in without or name in LEFT_OUT:
            continue
        if only and not inside and entry.name.startswith("sub-") and entry.name not in only:
            continue
        if name in parents:
            (folder / name).mkdir()
            _link(root, folder, name, without, parents, only)
        else:
            (folder / name).symlink_to(root / name)


def _sidecars(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        if Path(folder) == Path(root):
            folders[:] = [name for name in folders if name not in LEFT_OUT]
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(".json"))
