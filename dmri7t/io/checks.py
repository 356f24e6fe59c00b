"""What a scan must have; all that can be seen without reading the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dmri7t.errors import InputError, NothingToTranslate
from dmri7t.io.gradients import (
    check_agreement,
    looks_small,
    read_bvals,
    read_bvecs,
    read_mrtrix,
)
from dmri7t.io.images import load_image
from dmri7t.io.scan import Scan
from dmri7t.io.volumes import FIELD, kept_volumes
from dmri7t.signal.gradients import B0_THRESHOLD, MIN_DIRECTIONS, count_distinct, find_shells

SAME_LENGTH = 0.01
"""Gradient vectors whose lengths differ by less than this share are equally long."""

LARGE_B = 1e5
"""Above this, b-values are not in s/mm2."""

MIN_VOXELS = 8
"""Fewest voxels along an axis; a brain has more, and networks need some."""


SAME_POSITION = 0.01
"""Entries of two affines that differ by less than this, in mm, are the same."""


def check_scan(scan: Scan, b0_threshold: float = B0_THRESHOLD) -> None:
    """Hold what can be seen without reading the image against what the method needs.

    Parameters
    ----------
    scan : Scan
    b0_threshold : float
        Volumes up to this b-value (s/mm2) are b0.

    Raises
    ------
    NothingToTranslate
        If it is no series, or one with too few directions, such as one for the correction of
        distortion.
    InputError
        One line: which file, what is wrong, what to do.
    """
    tables = [_check_series(part, b0_threshold) for part in scan.series]
    # few directions in a part may be many in all
    bvals, bvecs = (np.concatenate(each, axis=-1) for each in zip(*tables, strict=True))
    check_count(bvals, bvecs, scan.bval, b0_threshold)
    if scan.mask is not None:
        if not scan.mask.is_file():
            raise InputError(
                f"{scan.mask}: missing; the brain mask belongs beside the scan: copy it there, or "
                "give one with --brain-mask."
            )
        check_same_grid(scan.mask, scan.dwi)


def _check_series(scan: Scan, b0_threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Check one image and its gradients; return b-values (N,) and vectors (3, N) that are used."""
    if scan.flaw:
        raise InputError(scan.flaw)
    shape = _image_shape(scan.dwi)
    for path, what in ((scan.bval, "bval"), (scan.bvec, "bvec")):
        if not path.is_file():
            raise InputError(f"{path}: missing; add the {what} file of {scan.dwi.name}.")
    bvals, bvecs = read_bvals(scan.bval), read_bvecs(scan.bvec)
    for path, n in ((scan.bval, len(bvals)), (scan.bvec, bvecs.shape[1])):
        if n != shape[3]:
            raise InputError(
                f"{path}: {n} entries but {scan.dwi.name} has {shape[3]} volumes; find the file "
                "that belongs to the image."
            )
    check_units(scan.bval, bvals, bvecs.T)
    kept = kept_volumes(scan, shape[3])
    _check_ending(scan, bvals, bvecs, kept, b0_threshold)
    check_gradients(bvals[kept], bvecs[:, kept], scan.bvec, scan.bval, b0_threshold, kept)
    check_lengths(scan.bvec, bvals, bvecs.T, b0_threshold, kept)
    if scan.grad_b is not None:
        b_table = read_mrtrix(scan.grad_b, len(bvals), False)
        check_lengths(scan.grad_b, *b_table, b0_threshold, kept)
        affine = load_image(scan.dwi).affine
        check_agreement(scan.bval, scan.bvec, scan.grad_b, affine, b0_threshold, kept)
    return bvals[kept], bvecs[:, kept]


def check_units(path: Path, bvals_N: np.ndarray, vectors_N3: np.ndarray) -> None:
    """See that b-values are in s/mm2.

    Parameters
    ----------
    path : Path
        File with the b-values, for the message.
    bvals_N : ndarray (N,)
    vectors_N3 : ndarray (N, 3)

    Raises
    ------
    InputError
    """
    highest = float(bvals_N.max(initial=0))
    if highest > LARGE_B:
        raise InputError(
            f"{path}: b-values up to {highest:.4g}, which is no b in s/mm2; if their unit is s/m2, "
            "divide them by 1000000"
        )
    weighted = bvals_N > highest / 2
    many = count_distinct(np.nan_to_num(vectors_N3)[weighted]) >= MIN_DIRECTIONS
    if looks_small(bvals_N) and many:
        raise InputError(
            f"{path}: b-values up to {highest:.4g} with {int(weighted.sum())} directions, which is "
            "hardly any weighting in s/mm2; if their unit is ms/um2, multiply them by 1000"
        )


def check_lengths(
    path: Path,
    bvals_N: np.ndarray,
    vectors_N3: np.ndarray,
    b0_threshold: float = B0_THRESHOLD,
    kept: Sequence[int] | None = None,
) -> None:
    """See that vectors of one b-value are equally long.

    Some files hold one b-value for all volumes, and tell by the square of a vector's length which
    part of it a volume has; which they are, nothing says.

    Parameters
    ----------
    path : Path
        File with the vectors, for the message.
    bvals_N : ndarray (N,)
        s/mm2.
    vectors_N3 : ndarray (N, 3)
        As they stand there.
    b0_threshold : float
    kept : sequence of int, optional
        Volumes that are looked at; by default all.

    Raises
    ------
    InputError
    """
    places = np.arange(len(bvals_N)) if kept is None else np.asarray(kept, int)
    bvals_N, vectors_N3 = bvals_N[places], vectors_N3[places]
    lengths = np.linalg.norm(np.nan_to_num(vectors_N3), axis=1)
    # digits that were cut off change lengths, too
    tolerance = SAME_LENGTH + _last_digit(vectors_N3)
    for shell in find_shells(bvals_N, b0_threshold)[1]:
        rows = np.array([i for i in shell.indices if lengths[i] > 0])
        if not len(rows) or np.ptp(bvals_N[rows]) > SAME_LENGTH * shell.bval:
            continue
        usual = float(np.median(lengths[rows]))
        off = np.abs(lengths[rows] / usual - 1)
        if off.max() > tolerance:
            worst = int(rows[off.argmax()])
            raise InputError(
                f"{path}: volumes of b = {shell.bval:g} have vectors of different lengths "
                f"({usual:.4g}, but {lengths[worst]:.4g} in volume {places[worst]}); if the length "
                "says the b-value, multiply each b-value by its square and write unit vectors, or "
                "else mend that vector."
            )


def _last_digit(values: np.ndarray) -> float:
    """Step in which these numbers are rounded, of 0.1 to 0.0001."""
    for digits in (1, 2, 3):
        if np.allclose(values, np.round(values, digits), atol=1e-9, equal_nan=True):
            return float(10.0**-digits)
    return 1e-4


def check_same_grid(mask: Path, image: Path) -> None:
    """See that a mask has the voxels of an image.

    Raises
    ------
    InputError
    """
    one, other = load_image(mask), load_image(image)
    shape = tuple(other.shape[:3])
    if one.shape[:3] != shape or math.prod(one.shape) != math.prod(shape):
        dims = [" x ".join(map(str, s)) for s in (one.shape, shape)]
        raise InputError(
            f"{mask}: {dims[0]} voxels, but {image.name} has {dims[1]}; find the mask that belongs "
            "to the image."
        )
    if not np.allclose(one.affine, other.affine, atol=SAME_POSITION):
        raise InputError(
            f"{mask}: its voxels lie elsewhere than those of {image.name} (the affines differ); "
            "find the mask that belongs to the image."
        )


def check_fineness(resolution: Sequence[float], shape: Sequence[int]) -> None:
    """See that voxels of the sizes that were asked for, mm, are enough along each axis.

    Raises
    ------
    InputError
    """
    if min(shape) < MIN_VOXELS:
        raise InputError(
            f"--output-resolution {','.join(f'{mm:g}' for mm in resolution)}: leaves "
            f"{' x '.join(map(str, shape))} voxels, and {MIN_VOXELS} are needed along each axis; "
            "give smaller ones, in mm."
        )


def _image_shape(path: Path) -> tuple[int, ...]:
    """Shape of a 4D image from its header."""
    if path.is_symlink() and not path.exists():
        raise InputError(
            f"{path}: a link to content that is not here; get it (datalad get, git annex get)."
        )
    image = load_image(path)
    dims = " x ".join(str(n) for n in image.shape)
    if len(image.shape) != 4 or image.shape[3] < 2:
        # an ADC map or a reference, beside scans that can be used
        raise NothingToTranslate(
            f"{path}: {dims} voxels, but a diffusion scan has 4 dimensions, the last of them "
            "its volumes; convert it again, or leave it out with --bids-filter-file."
        )
    if image.get_data_dtype().kind not in "iuf":
        raise InputError(
            f"{path}: values of type {image.get_data_dtype()}, but magnitudes are needed; "
            "convert it again."
        )
    if min(image.shape[:3]) < MIN_VOXELS:
        raise InputError(
            f"{path}: {dims} voxels; {MIN_VOXELS} are needed along each axis, so give the whole "
            "image and not a slab of it."
        )
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-6:
        raise InputError(f"{path}: its affine cannot be used; convert it again.")
    return image.shape


def _check_ending(
    scan: Scan, bvals: np.ndarray, bvecs: np.ndarray, kept: list[int], b0_threshold: float
) -> None:
    """Name what some scanners append: a trace or an ADC map, which has no direction."""
    vectors = np.nan_to_num(bvecs)
    without = (bvals > b0_threshold) & (np.linalg.norm(vectors, axis=0) < 0.1)
    volumes = [index for index in kept if without[index]]
    if not volumes or volumes != kept[-len(volumes) :]:
        return
    nan = not np.isfinite(bvecs[:, volumes[0]]).all()
    what = "a direction that is no number" if nan else "no direction (zeros)"
    named = ", ".join(map(str, volumes))
    many = len(volumes) > 1
    raise InputError(
        f"{scan.bvec}: volume {volumes[0]} has b = {bvals[volumes[0]]:g} but {what}, at the end of "
        "the scan, as a trace or an ADC map has that Philips scanners append; leave "
        f"{'them' if many else 'it'} out with --exclude-volumes {named.replace(', ', ' ')}, or "
        f'"{FIELD}": [{named}] in the sidecar.'
    )


def check_gradients(
    bvals: np.ndarray,
    bvecs: np.ndarray,
    bvec: Path,
    bval: Path,
    b0_threshold: float,
    volumes: Sequence[int] | None = None,
) -> None:
    """Check b-values (N,) and vectors (3, N) against each other; the paths are for the message.

    ``volumes`` are the numbers that the N volumes have in the files, by default 0 to N - 1.

    Raises
    ------
    InputError
        If there is no b0, or a weighted volume has no direction.
    """
    volumes = range(len(bvals)) if volumes is None else volumes
    b0, _ = find_shells(bvals, b0_threshold)
    if not b0:
        raise InputError(
            f"{bval}: no b0 volume (lowest b-value {bvals.min():g}, threshold {b0_threshold:g} "
            "s/mm2); a scan needs one, or raise --b0-threshold."
        )
    weighted = bvals > b0_threshold
    broken = np.flatnonzero(weighted & ~np.isfinite(bvecs).all(0))
    if len(broken):
        raise InputError(
            f"{bvec}: volume {volumes[broken[0]]} has a direction that is no number; "
            "mend the file or convert the scan again."
        )
    zero = np.flatnonzero(weighted & (np.linalg.norm(np.nan_to_num(bvecs), axis=0) < 0.1))
    if len(zero):
        raise InputError(
            f"{bvec}: volume {volumes[zero[0]]} has b = {bvals[zero[0]]:g} but no direction "
            "(zeros); mend the file, or set its b-value to 0 if it is a b0."
        )


def check_count(
    bvals: np.ndarray, bvecs: np.ndarray, bval: Path, b0_threshold: float = B0_THRESHOLD
) -> None:
    """See that b-values (N,) and vectors (3, N) have directions enough.

    Raises
    ------
    NothingToTranslate
    """
    shells = find_shells(bvals, b0_threshold)[1]
    # grids in q-space have few directions at each b-value, and are interpolated
    n_distinct = count_distinct(bvecs[:, [i for s in shells for i in s.indices]].T)
    if n_distinct < MIN_DIRECTIONS:
        raise NothingToTranslate(
            f"{bval}: {n_distinct} different directions; {MIN_DIRECTIONS} are needed at least, so "
            "this scan cannot be translated; leave it out with --bids-filter-file."
        )
