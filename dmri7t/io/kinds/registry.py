"""All kinds of input: where a new one has its line."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from dmri7t.io.anatomy import FMRIPREP, Program
from dmri7t.io.kinds.base import Kind

UNKNOWN = Kind()
"""Of scans that say nothing of where they come from."""

# the general ones come first: the last ones are asked first whether a folder is theirs
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        import_module(f"dmri7t.io.kinds.{module}").KIND
        for module in (
            "raw",
            "derivative",
            "fsl",
            "hcp",
            "qsiprep",
        )
    )
}
"""All kinds by name; each is ``KIND`` in a module of :mod:`dmri7t.io.kinds`."""


def kind_named(name: str) -> Kind:
    """Kind of a scan by its name; :data:`UNKNOWN` for others, such as an empty one.

    Examples
    --------
    >>> kind_named("qsiprep").title, kind_named("").title
    ("QSIPrep's results", 'a data set')
    """
    return KINDS.get(name, UNKNOWN)


def recognise(root: Path, input_type: str = "") -> Kind:
    """Kind of a data set.

    Parameters
    ----------
    root : Path
    input_type : str
        Of :func:`input_types`; empty: any.

    Raises
    ------
    InputError
        If its dataset_description.json is not readable.
    """
    kinds = [k for k in KINDS.values() if input_type in ("", k.input_type)]
    return next((kind for kind in reversed(kinds) if kind.recognises(root)), kinds[0])


def input_types() -> list[str]:
    """What ``--input-type`` takes beside auto."""
    return list(dict.fromkeys(kind.input_type for kind in KINDS.values()))


def describe_input_types() -> str:
    """What these words stand for, for ``--help``.

    Examples
    --------
    >>> describe_input_types().split("; ")[-1]
    "qsiprep, QSIPrep's results"
    """
    titles: dict[str, list[str]] = {}
    for kind in KINDS.values():
        titles.setdefault(kind.input_type, []).append(kind.title)
    return "; ".join(f"{word}, {' or '.join(those)}" for word, those in titles.items())


def programs() -> dict[str, Program]:
    """Programs whose results may lie beside the input, by name; the first is the first to be asked
    for tissues."""
    of_kinds = [kind.program for kind in KINDS.values() if kind.program is not None]
    return {program.name: program for program in (*of_kinds, FMRIPREP)}
