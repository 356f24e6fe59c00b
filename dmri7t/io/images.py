"""NIfTI images: read by mapping, written volume by volume, whole or not at all."""

from __future__ import annotations

import math
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import nibabel
import numpy as np
from numpy.typing import DTypeLike

from dmri7t.errors import Dmri7tError, InputError
from dmri7t.files import whole_file
from dmri7t.io.orientation import Turn
from dmri7t.signal.grids import Grid

MILLIMETRES = {"meter": 1e3, "micron": 1e-3}
"""Units of length of headers, beside mm and none."""

VOXEL_MM = 0.01, 50.0
"""Between these lie edges of voxels of anything that is scanned."""

BLOCK = 1 << 22
"""Bytes that are decompressed at once."""


def load_image(path: Path | str) -> nibabel.Nifti1Image:
    """Open an image; its header is read, its values are not.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    try:
        image = nibabel.load(path)
    except Exception as error:  # nibabel raises many kinds for a damaged header
        reason = re.sub(r"\s+", " ", str(error))
        raise InputError(
            f"{path}: not a readable NIfTI image ({reason}); copy or convert it again."
        ) from error
    return _in_millimetres(path, cast(nibabel.Nifti1Image, image))


def _in_millimetres(path: Path | str, image: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    """Convert the affine of an image whose header has other units; see what the header claims."""
    header = image.header
    if getattr(header, "is_single", False) and hasattr(image.dataobj, "offset"):
        least = header.single_vox_offset
        if image.dataobj.offset < least:
            raise InputError(
                f"{path}: its voxels begin at byte {image.dataobj.offset}, within the header of "
                f"{least} bytes (vox_offset); convert it again."
            )
    unit = header.get_xyzt_units()[0] if hasattr(header, "get_xyzt_units") else "mm"
    factor = MILLIMETRES.get(unit, 1.0)
    if factor != 1:
        affine = np.array(image.affine, float)
        affine[:3] *= factor
        image = type(image)(image.dataobj, affine, header)
        image.header.set_xyzt_units("mm", header.get_xyzt_units()[1])
    sizes = np.linalg.norm(image.affine[:3, :3], axis=0)
    low, high = VOXEL_MM
    if (
        np.isfinite(sizes).all()
        and sizes.min() > 0
        and not (low < sizes.min() <= sizes.max() < high)
    ):
        raise InputError(
            f"{path}: voxels of {' x '.join(f'{mm:.4g}' for mm in sizes)} mm, by a header in {unit}"
            " (xyzt_units); correct its units or its voxel sizes."
        )
    return image


def open_volumes(path: Path | str, scratch: Path | str) -> nibabel.Nifti1Image:
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
    Nifti1Image
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
        image = load_image(path_read)
    except InputError as error:
        # the user knows the file that was decompressed
        raise InputError(str(error).replace(str(path_read), str(path))) from error
    proxy = cast(nibabel.arrayproxy.ArrayProxy, image.dataobj)
    needed = proxy.offset + proxy.dtype.itemsize * math.prod(image.shape)
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

    damaged = (EOFError, OSError, zlib.error, cast(type[Exception], isal_zlib.error))
    try:
        with igzip_threaded.open(path, "rb", threads=1) as source:
            while block := source.read(BLOCK):
                yield block
    except damaged as error:
        raise InputError(
            f"{path}: cannot be decompressed ({error}); the file is damaged or cut short: "
            "copy or convert it again"
        ) from error


def frames_remark(path: Path | str) -> str:
    """Say that the header's two frames of an image, sform and qform, disagree; empty if not.

    Raises
    ------
    InputError
        If the image is not readable.
    """
    header = load_image(path).header
    if not hasattr(header, "get_qform"):
        return ""
    (sform, s_code), (qform, q_code) = header.get_sform(coded=True), header.get_qform(coded=True)
    if not (s_code and q_code):
        return ""
    shape = np.array([*header.get_data_shape(), 1, 1, 1][:3]) - 1
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    corners[:, :3] *= shape
    apart = float(np.linalg.norm(((sform - qform) @ corners.T)[:3], axis=0).max())
    # rounding of the quaternion moves a corner by less
    if apart <= 0.5 * np.linalg.norm(sform[:3, :3], axis=0).min():
        return ""
    mirrored = np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0
    how = "mirror each other" if mirrored else "differ"
    return f"sform and qform of its header {how} (by up to {apart:.3g} mm); the sform was used"


def repetition_time(image: nibabel.Nifti1Image) -> float:
    """Seconds from volume to volume, as the header of a 4D image has it; 0 where it has none."""
    zooms = image.header.get_zooms()
    unit = image.header.get_xyzt_units()[1]
    return float(zooms[3]) * {"msec": 1e-3, "usec": 1e-6}.get(unit, 1.0) if len(zooms) > 3 else 0.0


def save_series(path: Path | str, values: np.ndarray, image: nibabel.Nifti1Image) -> None:
    """Write volumes for another node: uncompressed, on the grid and in the units of an image.

    Parameters
    ----------
    path : path
        Ends in .nii.
    values : ndarray (X, Y, Z, N)
    image : Nifti1Image
    """
    header = nibabel.Nifti1Header(endianness="<")
    header.set_xyzt_units(*image.header.get_xyzt_units())
    nibabel.save(nibabel.Nifti1Image(values, image.affine, header), path)


def write_volumes(
    path: Path | str,
    volumes: Iterable[np.ndarray],
    shape: tuple[int, ...],
    affine: np.ndarray,
    *,
    dtype: DTypeLike = np.float32,
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
    stream: BinaryIO,
    shape: tuple[int, ...],
    affine: np.ndarray,
    dtype: DTypeLike,
    repetition_time: float,
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
    indices_xyz, shape = np.nonzero(mask_XYZ), mask_XYZ.shape
    if turn is not None:
        indices_xyz, shape = turn.indices(*indices_xyz), turn.grid.shape
    flat_V = np.ravel_multi_index(indices_xyz, shape, order="F")
    buffer = np.zeros(mask_XYZ.size, np.float32)
    for values_V in values_NV:
        buffer[flat_V] = values_V
        yield buffer
