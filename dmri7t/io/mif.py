"""MRtrix's images: a header of text lines, values in whatever order it says, gradients in it.

No library reads them. Values are mapped, or taken out of gzip at once, and come as float32.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

import attrs
import nibabel
import numpy as np

from dmri7t.errors import InputError

ENDINGS = (".mif", ".mif.gz")

FIRST_LINE = "mrtrix image"

LONGEST = 10_000_000
"""Bytes of a header at most; histories and gradients of many volumes are long."""

TYPES = {
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float32": "f4",
    "float64": "f8",
}
"""Types of values by their names, without the order of bytes."""


def is_mif(path: Path | str) -> bool:
    """Whether a file's name is that of an image of MRtrix.

    Examples
    --------
    >>> is_mif("sub-01_dwi.mif.gz"), is_mif("sub-01_dwi.nii.gz")
    (True, False)
    """
    return str(path).endswith(ENDINGS)


@attrs.frozen(eq=False)
class MifImage:
    """An image whose header was read.

    Parameters
    ----------
    path : Path
    shape : tuple of int
    affine : ndarray (4, 4)
        From indices to the scanner's axes (RAS+), mm.
    dtype : numpy dtype
        Of the values on disk.
    order : tuple of int
        Axes as they lie on disk, the one that runs fastest first.
    backwards : tuple of bool
        For every axis, whether it is stored from its end.
    scaling : tuple of float
        Offset and factor.
    offset : int
        Bytes before the first value.
    gradients : ndarray (N, 4), optional
        x, y, z in the scanner's frame, and b in s/mm2.
    repetition_time : float
        Seconds from volume to volume; 0: unknown.
    """

    path: Path
    shape: tuple[int, ...]
    affine: np.ndarray
    dtype: np.dtype
    order: tuple[int, ...]
    backwards: tuple[bool, ...]
    scaling: tuple[float, float]
    offset: int
    gradients: np.ndarray | None
    repetition_time: float = 0.0

    @property
    def n_bytes(self) -> int:
        """Size of header and values."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def load(self) -> nibabel.Nifti1Image:
        """Image as all others are: its values are read when asked for."""
        header = nibabel.Nifti1Header()
        header.set_data_dtype(np.float32)
        values = cast(Any, MifValues(self))
        image = nibabel.Nifti1Image(values, self.affine, header, dtype=np.float32)
        image.header.set_xyzt_units("mm", "sec")
        if image.ndim > 3:
            image.header.set_zooms([*image.header.get_zooms()[:3], self.repetition_time])
        return image


class MifValues:
    """Values of an image as float32; what is indexed is read.

    Raises
    ------
    InputError
        When asked for, if the file is cut short or cannot be decompressed.
    """

    dtype = np.dtype(np.float32)
    # nibabel takes what says so as it is
    is_proxy = True

    def __init__(self, image: MifImage) -> None:
        self.image, self.shape, self.ndim = image, image.shape, len(image.shape)

    @cached_property
    def _mapped(self) -> np.ndarray:
        image = self.image
        if image.path.suffix == ".gz":
            flat = np.frombuffer(_decompress(image.path), np.uint8)
        else:
            flat = np.memmap(image.path, np.uint8, mode="r")
        if len(flat) < image.n_bytes:
            raise InputError(f"{image.path}: the image is cut short; copy or convert it again")
        stored = flat[image.offset : image.n_bytes].view(image.dtype)
        stored = stored.reshape([image.shape[axis] for axis in image.order], order="F")
        values = stored.transpose(np.argsort(image.order))
        return values[tuple(slice(None, None, -1 if b else 1) for b in image.backwards)]

    def __getitem__(self, key: Any) -> np.ndarray:
        offset, factor = self.image.scaling
        values = np.asarray(self._mapped[key], np.float32)
        return values if (offset, factor) == (0, 1) else values * np.float32(factor) + offset

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype)


def read_mif(path: Path | str) -> MifImage:
    """Read the header of an image.

    Raises
    ------
    InputError
        If the file cannot be read, or holds something that cannot be used.
    """
    path = Path(path)
    try:
        return _parse(path, _read_fields(path))
    except (OSError, EOFError, zlib.error, ValueError, KeyError, IndexError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(
            f"{path}: not a readable image of MRtrix ({reason}); copy or convert it again."
        ) from error


def read_gradients(path: Path | str) -> np.ndarray:
    """Read the gradients in the header of an image: rows of x, y, z in the scanner's frame, and b.

    Raises
    ------
    InputError
        If there are none, or they are not as many as volumes.
    """
    image = read_mif(path)
    if image.gradients is None:
        raise InputError(
            f"{path}: no gradients in its header (dw_scheme); put them in: mrconvert {image.path} "
            "NEW.mif -fslgrad NAME.bvec NAME.bval"
        )
    n = image.shape[3] if len(image.shape) > 3 else 1
    if image.gradients.shape != (n, 4):
        rows = len(image.gradients)
        raise InputError(
            f"{path}: dw_scheme in its header has {rows} rows of {image.gradients.shape[1]} "
            f"numbers, but the image {n} volumes; convert it again."
        )
    return image.gradients


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb"))


def _decompress(path: Path) -> bytes:
    try:
        with _open(path) as file:
            return file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: cannot be decompressed ({error}); the file is damaged or cut short: "
            "copy or convert it again"
        ) from error


def _read_fields(path: Path) -> dict[str, list[str]]:
    """Fields of a header, each with a value a line."""
    fields: dict[str, list[str]] = defaultdict(list)
    with _open(path) as file:
        first, read = file.readline(len(FIRST_LINE) + 2), 0
        if first.decode(errors="replace").strip() != FIRST_LINE:
            raise ValueError(f"it does not begin with {FIRST_LINE!r}")
        while (line := file.readline(LONGEST).decode(errors="replace").strip()) != "END":
            read += len(line) + 1
            if not line or read > LONGEST:
                raise ValueError("its header has no end")
            key, _, value = line.partition(":")
            fields[key.strip()].append(value.strip())
    return fields


def _parse(path: Path, fields: dict[str, list[str]]) -> MifImage:
    def numbers(key: str, text: str | None = None) -> list[float]:
        return [float(n) for n in (text or fields[key][0]).replace(",", " ").split()]

    for key in ("dim", "vox", "layout", "datatype", "file"):
        if key not in fields:
            raise ValueError(f"its header has no {key}")
    shape = tuple(int(n) for n in numbers("dim"))
    layout = fields["layout"][0].split(",")
    where, offset = fields["file"][0].split()
    if where != ".":
        raise ValueError("its values are in a file of their own")
    order = sorted(range(len(layout)), key=lambda axis: int(layout[axis].strip().lstrip("+-")))
    if len(shape) < 3 or len(layout) != len(shape) or min(shape) < 1:
        raise ValueError(f"dim {fields['dim'][0]} and layout {fields['layout'][0]} do not fit")
    spacing = numbers("vox")
    sizes, seconds = np.array(spacing[:3]), spacing[3] if len(spacing) == 4 else 0.0
    affine = np.diag([*sizes, 1.0])
    affine[:3, 3] = -sizes * (np.array(shape[:3]) - 1) / 2
    if "transform" in fields:
        rows = np.array([numbers("transform", row) for row in fields["transform"][:3]])
        affine[:3] = np.column_stack([rows[:, :3] * sizes, rows[:, 3]])
    scheme = [numbers("dw_scheme", row) for row in fields.get("dw_scheme", [])]
    scaling = numbers("scaling") if "scaling" in fields else [0.0, 1.0]
    return MifImage(
        path=path,
        shape=shape,
        affine=affine,
        dtype=_type(fields["datatype"][0]),
        order=tuple(order),
        backwards=tuple(axis.strip().startswith("-") for axis in layout),
        scaling=(scaling[0], scaling[1]),
        offset=int(offset),
        gradients=np.array(scheme) if scheme else None,
        repetition_time=seconds if math.isfinite(seconds) and seconds > 0 else 0.0,
    )


def _type(name: str) -> np.dtype:
    """Type of values by its name.

    Examples
    --------
    >>> _type("Float32LE"), _type("UInt16BE")
    (dtype('float32'), dtype('>u2'))
    """
    lower = name.lower()
    plain = lower.removesuffix("le").removesuffix("be")
    if plain not in TYPES:
        raise ValueError(f"values of type {name}, but magnitudes are needed")
    return np.dtype((">" if lower.endswith("be") else "<") + TYPES[plain])
