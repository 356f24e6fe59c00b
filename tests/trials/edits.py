"""Changes to the first participant's scan, from which inputs of cases are made."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import nibabel
import numpy as np

from trials.place import BRAIN, Edit, Place, edit_image, edit_numbers, scan_with, with_one


def brain(**changes: Any) -> Edit:
    """One participant, large enough that tissues can be told, with these changes."""
    return scan_with(**{**BRAIN, **changes})


def changed(edit: Edit, build: Edit = with_one) -> Edit:
    """Build, and change something."""

    def both(place: Place) -> None:
        build(place)
        edit(place)

    return both


def image(change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """Change the voxels of the first participant's scan."""
    return lambda place: edit_image(place.scan(), change)


def bvals(change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """Change the b-values of the first participant (1, N)."""
    return lambda place: edit_numbers(place.scan(ending=".bval"), change)


def bvecs(change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """Change the directions of the first participant (3, N)."""
    return lambda place: edit_numbers(place.scan(ending=".bvec"), change)


def text(ending: str, change: Callable[[bytes], bytes]) -> Edit:
    """Change the bytes of one of the first participant's files."""

    def edit(place: Place) -> None:
        path = place.scan(ending=ending)
        path.write_bytes(change(path.read_bytes()))

    return edit


def sidecar(**values: object) -> Edit:
    """Add to the first participant's sidecar, also what JSON does not know."""

    def edit(place: Place) -> None:
        path = place.scan(ending=".json")
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return edit


def header(**values: Any) -> Edit:
    """Set fields of the first image's header, whatever they then say."""

    def edit(place: Place) -> None:
        raw = bytearray(gzip.decompress(place.scan().read_bytes()))
        # nibabel.load forgets where the voxels begin
        fields = nibabel.Nifti1Header(bytes(raw[:348]), check=False)
        for name, value in values.items():
            fields[name] = value
        raw[: len(fields.binaryblock)] = fields.binaryblock
        place.scan().write_bytes(gzip.compress(bytes(raw)))

    return edit


def set_voxel(data: np.ndarray, value: float) -> np.ndarray:
    data[6, 6, 5, 4] = value
    return data
