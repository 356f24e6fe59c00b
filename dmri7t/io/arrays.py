"""Arrays between nodes: uncompressed files that are mapped, not read.

Voxel-wise arrays are .npy of shape (volumes, voxels), voxels in the C order of their mask;
named tensors are .safetensors, whose metadata holds numbers and words as JSON.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from dmri7t.errors import Dmri7tError


def create_array(path: Path | str, shape: tuple[int, ...]) -> np.memmap:
    """Make a float32 .npy file to be filled in place.

    Raises
    ------
    Dmri7tError
        If there is no room for it: a disk that is full while a page is written kills the process.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    try:
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, array.offset + array.nbytes)
    except OSError as error:
        raise Dmri7tError(
            f"{path}: cannot be written ({error.strerror}); make room for "
            f"{array.nbytes / 2**30:.2g} GiB and run the command again"
        ) from error
    return array


def open_array(path: Path | str) -> np.ndarray:
    """Map a .npy file; pages are private, so nothing that is done to them reaches the file."""
    return np.load(path, mmap_mode="c")


def save_tensors(path: Path | str, tensors: dict[str, Any], meta: dict[str, Any]) -> None:
    """Write named torch tensors and a record of plain values.

    Parameters
    ----------
    path : path
        Ends in .safetensors.
    tensors : dict of Tensor
    meta : dict
        Whatever JSON can hold.
    """
    from safetensors.torch import save_file

    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(held, str(path), metadata={"meta": json.dumps(meta)})


def load_tensors(path: Path | str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what :func:`save_tensors` wrote: tensors, and the record."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        meta = json.loads((file.metadata() or {}).get("meta", "{}"))
        # not keys() of a dict: the file's own list of names
        names = list(file.keys())  # noqa: SIM118
        return {name: file.get_tensor(name) for name in names}, meta


def load_meta(path: Path | str) -> dict[str, Any]:
    """Read the record alone, without torch."""
    with open(path, "rb") as file:
        # the format begins with the length of a JSON header, 8 bytes, little-endian
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return json.loads(header.get("__metadata__", {}).get("meta", "{}"))
