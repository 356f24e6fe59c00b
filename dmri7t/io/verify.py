"""Whether written results are there and whole."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

from dmri7t.errors import InputError
from dmri7t.files import scratch_folder
from dmri7t.io.images import open_volumes


def find_fault(path: Path, scratch: Path) -> str:
    """Say in one line what is wrong with a result; empty if it is whole.

    Parameters
    ----------
    path : Path
        An image (.nii.gz), a table of gradients, a sidecar, a page.
    scratch : Path
        Folder in which an image is decompressed for a while.

    Examples
    --------
    >>> find_fault(Path("nowhere.json"), Path("."))
    'nowhere.json: is missing'
    """
    try:
        if not path.is_file():
            return f"{path}: is missing"
        check = _CHECKS.get("".join(path.suffixes[-2:]), _CHECKS.get(path.suffix, _check_text))
        wrong = check(path, scratch)
    except (InputError, OSError, ValueError, EOFError, zlib.error) as error:
        return f"{path}: cannot be read ({error})"
    return f"{path}: {wrong}" if wrong else ""


def _check_image(path: Path, scratch: Path) -> str:
    with scratch_folder(scratch) as folder:
        image = open_volumes(path, folder)
        for index in range(image.shape[3] if len(image.shape) > 3 else 1):
            volume = np.asarray(
                image.dataobj[..., index] if len(image.shape) > 3 else image.dataobj
            )
            if not np.isfinite(volume).all():
                return f"volume {index} holds values that are not finite"
    return ""


def _check_json(path: Path, scratch: Path) -> str:
    record = json.loads(path.read_text())
    return "" if isinstance(record, dict) and record else "is no sidecar"


def _check_numbers(path: Path, scratch: Path) -> str:
    numbers = np.loadtxt(path, ndmin=2)
    return "" if numbers.size and np.isfinite(numbers).all() else "holds no finite numbers"


def _check_page(path: Path, scratch: Path) -> str:
    return "" if path.read_text().rstrip().endswith("</html>") else "is cut short"


def _check_text(path: Path, scratch: Path) -> str:
    return "" if path.read_text().strip() else "is empty"


_CHECKS = {
    ".nii.gz": _check_image,
    ".json": _check_json,
    ".bval": _check_numbers,
    ".bvec": _check_numbers,
    ".html": _check_page,
}
