"""NIfTI images: read by mapping, written volume by volume, whole or not at all."""

from __future__ import annotations

import glob
import math
import os
import socket
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import nibabel
import numpy as np

from dmri7t.errors import Dmri7tError, InputError
from dmri7t.io.orientation import Turn
from dmri7t.signal.grids import Grid

BLOCK = 1 << 22
"""Bytes that are decompressed at once."""

STALE_SECONDS = 3600
"""A part that nobody has written to for so long was left by a process that was killed."""

CLOCK_SECONDS = 60
"""How far the clock of a file server may lie behind."""


def open_volumes(path: Path | str, scratch: Path | str) -> Any:
    """Open a 4D image so that volumes can be taken one by one.

    Parameters
    ----------
    path : path
        .nii or .nii.gz. The latter is decompressed once, into ``scratch``: gzip cannot be
        entered in the middle.
    scratch : path
        Folder; the caller removes what was put there.

    Returns
    -------
    nibabel image
        ``image.dataobj[..., i]`` reads one volume.

    Raises
    ------
    InputError
        If the file is truncated or damaged.
    Dmri7tError
        If ``scratch`` is full.
    """
    path = Path(path)
    path_read = path
    if path.suffix == ".gz":
        path_read = Path(scratch) / path.stem
        _decompress(path, path_read)
    try:
        image = nibabel.load(path_read)
    except Exception as error:  # nibabel raises many kinds for a damaged header
        raise InputError(
            f"{path}: not a readable NIfTI image ({type(error).__name__}); the file is damaged: "
            "copy or convert it again"
        ) from error
    needed = image.dataobj.offset + image.dataobj.dtype.itemsize * math.prod(image.shape)
    if os.path.getsize(path_read) < needed:
        raise InputError(f"{path}: the image is cut short; copy or convert it again")
    return image


def _decompress(path: Path, plain: Path) -> None:
    with open(plain, "wb") as target:
        for block in _blocks(path):
            try:
                target.write(block)
            except OSError as error:
                raise Dmri7tError(
                    f"{plain}: cannot be written ({error.strerror}); {path.name} needs room there "
                    "in its uncompressed size"
                ) from error


def _blocks(path: Path) -> Iterator[bytes]:
    """Decompressed content, block by block."""
    from isal import igzip_threaded, isal_zlib

    try:
        with igzip_threaded.open(path, "rb", threads=1) as source:
            while block := source.read(BLOCK):
                yield block
    except (EOFError, OSError, zlib.error, isal_zlib.error) as error:
        raise InputError(
            f"{path}: cannot be decompressed ({error}); the file is damaged or cut short: "
            "copy or convert it again"
        ) from error


def repetition_time(image: Any) -> float:
    """Seconds from volume to volume, as the header of a 4D image has it; 0 where it has none."""
    zooms = image.header.get_zooms()
    unit = image.header.get_xyzt_units()[1]
    return float(zooms[3]) * {"msec": 1e-3, "usec": 1e-6}.get(unit, 1.0) if len(zooms) > 3 else 0.0


@contextmanager
def scratch_folder(parent: Path | str) -> Iterator[Path]:
    """Give a folder that is gone again afterwards, whatever happens."""
    with TemporaryDirectory(dir=parent, prefix="scratch-") as folder:
        yield Path(folder)


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """Give a name beside ``path`` to write to; it takes the final name only when all went well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for part in path.parent.glob(f".part-*-{glob.escape(path.name)}"):
        if _is_left_over(part, path.name):
            part.unlink(missing_ok=True)
    # the ending stays, for those who choose a format by it
    part = path.with_name(f".part-{socket.gethostname()}.{os.getpid()}-{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _is_left_over(part: Path, name: str) -> bool:
    """Whether the process that wrote a part was killed; others may be writing the same file.

    Of a process on another machine only the age of what it wrote last can be known.
    """
    writer = part.name.removeprefix(".part-").removesuffix(f"-{name}")
    host, _, pid = writer.rpartition(".")
    try:
        written = part.stat().st_mtime
    except FileNotFoundError:
        return True
    if host == socket.gethostname() and pid.isdigit() and not _may_write(int(pid), written):
        return True
    return time.time() - written > STALE_SECONDS


def _may_write(pid: int, written: float) -> bool:
    """Whether a process lives that can have written at that time."""
    import psutil

    try:
        process = psutil.Process(pid)
        # a container's first process may never bury the dead; numbers are given out again
        dead = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return not dead and process.create_time() < written + CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def write_volumes(
    path: Path | str,
    volumes: Iterable[np.ndarray],
    shape: tuple[int, ...],
    affine: np.ndarray,
    *,
    dtype: Any = np.float32,
    threads: int = 1,
    repetition_time: float = 0.0,
) -> None:
    """Write a .nii.gz volume by volume.

    Parameters
    ----------
    path : path
        Ends in .nii.gz; appears only when the whole image is written.
    volumes : iterable of ndarray
        Each (X, Y, Z), or flat in Fortran order.
    shape : tuple of int
        Of the whole image, (X, Y, Z) or (X, Y, Z, N).
    affine : ndarray (4, 4)
    dtype : numpy dtype
        Of the values on disk.
    threads : int
        That compress.
    repetition_time : float
        Seconds from volume to volume, for the header; 0: unknown.

    Raises
    ------
    Dmri7tError
        If a value is not finite, or there are too few or too many volumes.
    """
    from isal import igzip_threaded

    expected = shape[3] if len(shape) > 3 else 1
    written = 0
    with whole_file(path) as part:
        with igzip_threaded.open(part, "wb", compresslevel=1, threads=threads) as stream:
            _write_header(stream, shape, affine, dtype, repetition_time)
            for volume in volumes:
                if volume.size != np.prod(shape[:3]) or not np.isfinite(volume.sum()):
                    raise Dmri7tError(
                        f"{path}: volume {written} does not fit or holds values that are not "
                        "finite; nothing was written"
                    )
                data = np.asarray(volume, np.dtype(dtype).newbyteorder("<"))
                # a copy: threads compress it while the next volume fills the same buffer
                stream.write(data.tobytes(order="F"))
                written += 1
        if written != expected:
            raise Dmri7tError(f"{path}: {written} volumes instead of {expected}")


def _write_header(
    stream: BinaryIO, shape: tuple[int, ...], affine: np.ndarray, dtype: Any, repetition_time: float
) -> None:
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_zooms([*Grid(shape, affine).voxel_sizes, *[repetition_time] * (len(shape) - 3)])
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    header.set_xyzt_units("mm", "sec")
    header["vox_offset"] = 352
    header.write_to(stream)


def masked_volumes(
    values_NV: Iterable[np.ndarray], mask_XYZ: np.ndarray, turn: Turn | None = None
) -> Iterator[np.ndarray]:
    """Lay rows of mask voxels (C order) into volumes, zero outside; flat, Fortran order.

    With ``turn`` the volumes have their axes turned. One buffer is used for all volumes: take
    each before asking for the next.
    """
    places_xyz, shape = np.nonzero(mask_XYZ), mask_XYZ.shape
    if turn is not None:
        places_xyz, shape = turn.indices(*places_xyz), turn.grid.shape
    places = np.ravel_multi_index(places_xyz, shape, order="F")
    buffer = np.zeros(mask_XYZ.size, np.float32)
    for values_V in values_NV:
        buffer[places] = values_V
        yield buffer
