"""Images, NIfTI and MRtrix's: read by mapping, written volume by volume, whole or not at all."""

from __future__ import annotations

import math
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import attrs
import nibabel
import numpy as np
from numpy.typing import DTypeLike

from dmri7t.errors import Dmri7tError, InputError
from dmri7t.files import whole_file
from dmri7t.io.arriving import Arriving
from dmri7t.io.byte_order import is_swapped
from dmri7t.io.mif import is_mif, read_mif
from dmri7t.io.orientation import Turn
from dmri7t.io.texts import why_unreadable
from dmri7t.signal.grids import Grid

MILLIMETRES = {"meter": 1e3, "micron": 1e-3}
"""Units of length of headers, beside mm and none."""

LENGTHS, TIMES = (0, 1, 2, 3), (0, 8, 16, 24, 32, 40, 48)
"""Codes of units that NIfTI knows; together they make a header's xyzt_units."""

VOXEL_MM = 0.01, 50.0
"""Between these lie edges of voxels of anything that is scanned."""

SAME_SIZE = 0.02
"""Voxel sizes that differ by less than this share are the same."""

HEADER = 1 << 16
"""Bytes at the beginning that hold an image's header, and nearly always what extends it."""

BLOCK = 1 << 22
"""Bytes that are decompressed at once."""


def load_image(path: Path | str) -> nibabel.Nifti1Image:
    """Open an image; its header is read, its values are not.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    if is_mif(path):
        return _in_millimetres(path, read_mif(path).load())
    try:
        image = nibabel.load(path)
    except Exception as error:  # nibabel raises many kinds for a damaged header
        _check_access(Path(path))
        reason = re.sub(r"\s+", " ", str(error))
        raise InputError(
            f"{path}: not a readable NIfTI image ({reason}); copy or convert it again."
        ) from error
    opened = cast(nibabel.Nifti1Image, image)
    _check_sizes(path, opened)
    return _in_millimetres(path, opened)


def _check_sizes(path: Path | str, image: nibabel.Nifti1Image) -> None:
    """See that voxels have a size, where no sform tells it: nibabel takes 1 mm for none.

    Raises
    ------
    InputError
    """
    if not isinstance(image.header, nibabel.Nifti1Header) or image.header["sform_code"] > 0:
        return
    with nibabel.openers.ImageOpener(str(path)) as stream:
        sizes = type(image.header).from_fileobj(stream, check=False)["pixdim"][1:4]
    if not sizes.all():
        raise InputError(
            f"{path}: voxels of {' x '.join(f'{mm:.4g}' for mm in sizes)} mm by its header "
            "(pixdim), and no sform that says otherwise; convert it again."
        )


def _check_access(path: Path) -> None:
    """See that a file is there and may be read.

    Raises
    ------
    InputError
    """
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise InputError(f"{path}: {why_unreadable(error)}") from error


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
    unit = "mm"
    if hasattr(header, "get_xyzt_units"):
        length, time = int(header["xyzt_units"]) % 8, int(header["xyzt_units"]) // 8 * 8
        # nibabel has no word for other codes; they are as good as none
        header["xyzt_units"] = length * (length in LENGTHS) + time * (time in TIMES)
        unit = header.get_xyzt_units()[0]
    factor = MILLIMETRES.get(unit, 1.0)
    if factor != 1:
        affine = np.array(image.affine, float)
        affine[:3] *= factor
        image = type(image)(image.dataobj, affine, header)
        image.header.set_xyzt_units("mm", header.get_xyzt_units()[1])
    sizes = _edges(image.affine)
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
        .nii, .nii.gz, .mif or .mif.gz. What is compressed is decompressed once, into ``scratch``:
        gzip cannot be entered in the middle.
    scratch : path
        Folder; the caller removes what was put there.

    Returns
    -------
    Nifti1Image
        ``image.dataobj[..., i]`` reads one volume.

    Raises
    ------
    InputError
        If the file is truncated or damaged, or its bytes stand in another order than it says.
    Dmri7tError
        If ``scratch`` is full.
    """
    image, arriving = open_arriving(path, scratch)
    if arriving is not None:
        arriving.finish()
        arriving.wait(volumes_end(image, math.prod(image.shape[3:])))
    return image


def open_arriving(
    path: Path | str, scratch: Path | str
) -> tuple[nibabel.Nifti1Image, Arriving | None]:
    """Open a 4D image of which volumes can be taken as soon as they are decompressed.

    Parameters
    ----------
    path, scratch
        As of :func:`open_volumes`.

    Returns
    -------
    image : Nifti1Image
    arriving : Arriving or None
        Wait there for the :func:`volumes_end` of what is taken, and stop it in the end; None:
        all is there.

    Raises
    ------
    InputError
        If header or first volume cannot be read, or what is not compressed is cut short.
    Dmri7tError
        If ``scratch`` is full.
    """
    path = Path(path)
    if is_mif(path):
        return _open_mif(path, Path(scratch)), None
    if path.suffix != ".gz":
        image = load_image(path)
        if os.path.getsize(path) < volumes_end(image, math.prod(image.shape[3:])):
            raise InputError(f"{path}: the image is cut short; copy or convert it again")
        _check_byte_order(path, path, image)
        return image, None
    plain = Path(scratch) / path.stem
    arriving = Arriving(_blocks(path), plain, path)
    try:
        image = _load_beginning(plain, arriving)
        arriving.wait(volumes_end(image, 1))
        _check_byte_order(path, plain, image)
    except InputError as error:
        arriving.stop()
        # the user knows the file that was decompressed
        raise InputError(str(error).replace(str(plain), str(path))) from error
    except BaseException:
        arriving.stop()
        raise
    return image, arriving


def _load_beginning(plain: Path, arriving: Arriving) -> nibabel.Nifti1Image:
    """Open an image as soon as its header is there."""
    arriving.begin(HEADER)
    try:
        return load_image(plain)
    except InputError:
        # with much of its own between header and voxels?
        arriving.finish()
        return load_image(plain)


def volumes_end(image: nibabel.Nifti1Image, n: int) -> int:
    """Bytes of an image's file up to the end of its first ``n`` volumes."""
    proxy = cast(nibabel.arrayproxy.ArrayProxy, image.dataobj)
    return int(proxy.offset + proxy.dtype.itemsize * math.prod(image.shape[:3]) * n)


def _check_byte_order(path: Path, plain: Path, image: nibabel.Nifti1Image) -> None:
    """Refuse an image whose first volume makes sense in the other byte order alone."""
    proxy = cast(nibabel.arrayproxy.ArrayProxy, image.dataobj)
    shape = image.shape[:3]
    first = np.fromfile(plain, proxy.dtype, math.prod(shape), offset=proxy.offset)
    if is_swapped(first.reshape(shape, order="F")):
        raise InputError(
            f"{path}: the bytes of its numbers stand in another order than the header says; "
            "convert the scan again"
        )


def _open_mif(path: Path, scratch: Path) -> nibabel.Nifti1Image:
    """Open an image of MRtrix, of which all values are there."""
    image = read_mif(path)
    if path.suffix == ".gz":
        plain = scratch / path.stem
        Arriving(_blocks(path), plain, path).finish()
        image = attrs.evolve(image, path=plain)
    if os.path.getsize(image.path) < image.n_bytes:
        raise InputError(f"{path}: the image is cut short; copy or convert it again")
    return image.load()


def _blocks(path: Path) -> Iterator[bytes]:
    """Decompressed content, block by block."""
    from isal import igzip_threaded, isal_zlib

    damaged = (EOFError, OSError, zlib.error, cast(type[Exception], isal_zlib.error))
    try:
        with igzip_threaded.open(path, "rb", threads=1) as source:
            while block := source.read(BLOCK):
                yield block
    except damaged as error:
        _check_access(path)
        raise InputError(
            f"{path}: cannot be decompressed ({error}); the file is damaged or cut short: "
            "copy or convert it again"
        ) from error


def frames_remark(path: Path | str) -> str:
    """Say that an image's header contradicts itself: in sform and qform, or in voxel sizes.

    Empty if it does not.

    Raises
    ------
    InputError
        If the image is not readable.
    """
    header = load_image(path).header
    if is_mif(path) or not hasattr(header, "get_qform"):
        return ""
    sform, s_code = header.get_sform(coded=True)
    if not s_code:
        return ""
    sizes, told = _edges(sform), np.array(header["pixdim"][1:4], float)
    if np.abs(told - sizes).max() > SAME_SIZE * sizes.max():
        given = " x ".join(f"{mm:.3g}" for mm in told)
        return f"its header has voxels of {given} mm and an sform of others; the sform was used"
    try:
        qform, q_code = header.get_qform(coded=True)
    except ValueError:
        # nibabel can make no rotation of it, and does not need to where there is an sform
        qform, q_code = np.full((4, 4), np.nan), int(header["qform_code"])
    if not q_code:
        return ""
    if not np.isfinite(qform).all():
        return "the qform of its header is no rotation; the sform was used"
    shape = np.array([*header.get_data_shape(), 1, 1, 1][:3]) - 1
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    corners[:, :3] *= shape
    apart = float(np.linalg.norm(((sform - qform) @ corners.T)[:3], axis=0).max())
    # rounding of the quaternion moves a corner by less
    if apart <= 0.5 * _edges(sform).min():
        return ""
    mirrored = np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0
    how = "mirror each other" if mirrored else "differ"
    return f"sform and qform of its header {how} (by up to {apart:.3g} mm); the sform was used"


def _edges(affine: np.ndarray) -> np.ndarray:
    """Edge lengths of a voxel (3,)."""
    return np.linalg.norm(affine[:3, :3], axis=0)


def repetition_time(image: nibabel.Nifti1Image) -> float:
    """Seconds from volume to volume, as the header of a 4D image has it; 0 where it has none."""
    zooms = image.header.get_zooms()
    unit = image.header.get_xyzt_units()[1]
    seconds = float(zooms[3]) * {"msec": 1e-3, "usec": 1e-6}.get(unit, 1.0) if zooms[3:] else 0.0
    # some converters leave what is no time there
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


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
