"""Slices of masked maps, at the same position in the scanner whatever the grid.

1. The axes of a grid are put into the order and direction closest to right, anterior, superior.
2. A *coordinate* is millimetres along these axes, not voxels: grids that share their axes share
   their coordinates, so a slice of one and a slice of the other can be laid over each other.
3. Values stay what they are on disk, voxels of the mask in C order: a lookup volume says which
   of them lies in which voxel.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import attrs
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from dmri7t.errors import InputError
from dmri7t.io.images import load_image
from dmri7t.io.maps import load_mask
from dmri7t.reports.maps import MapFile

PLANES = ("axial", "coronal", "sagittal")
"""In the order in which they are shown."""

AXES = {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}
"""Horizontal, vertical and through-plane axis of each plane (0 right, 1 anterior, 2 superior)."""

SEARCH_MM = 6.0
"""How far from the middle slices are searched that lie at the same position on both grids."""

SPREAD = {
    "axial": (0.14, 0.32, 0.5, 0.68, 0.86),
    "coronal": (0.14, 0.32, 0.5, 0.68, 0.86),
    "sagittal": (0.2, 0.35, 0.5, 0.72),
}
"""Slices of each plane: which part of the brain lies before them. The fourth sagittal one is off
the middle on the other side."""


@attrs.frozen(eq=False)
class View:
    """The voxels of a mask, seen along the axes closest to right, anterior, superior.

    Parameters
    ----------
    lookup_XYZ : ndarray of int32
        Index of every voxel among the values of the mask; -1 outside it.
    axes_33 : ndarray
        Unit vectors of the axes as columns, scanner frame.
    sizes_3, origin_3 : ndarray
        Voxel sizes, and coordinates of the middle of the first voxel, mm.
    mask_XYZ : ndarray of bool
        As on disk.
    affine_44 : ndarray
        The same grid's: from indices in the file to scanner's coordinates, mm.
    """

    lookup_XYZ: np.ndarray
    axes_33: np.ndarray
    sizes_3: np.ndarray
    origin_3: np.ndarray
    mask_XYZ: np.ndarray
    affine_44: np.ndarray

    @classmethod
    def open(cls, mask: Path, whole: bool = False) -> View:
        """Read a mask.

        Parameters
        ----------
        mask : Path
        whole : bool
            Take all voxels of its grid, not only those of the mask.

        Raises
        ------
        InputError
            If it is empty.
        """
        mask_XYZ, grid = load_mask(mask)
        if not mask_XYZ.any():
            raise InputError(f"{mask}: the brain mask is empty; there is nothing to show")
        if whole:
            mask_XYZ = np.ones_like(mask_XYZ)
        lookup = np.full(mask_XYZ.shape, -1, np.int32)
        lookup[mask_XYZ] = np.arange(np.count_nonzero(mask_XYZ), dtype=np.int32)
        turn = io_orientation(grid.affine)
        affine = grid.affine @ inv_ornt_aff(turn, mask_XYZ.shape)
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        axes = affine[:3, :3] / sizes
        origin = np.linalg.solve(axes, affine[:3, 3])
        return cls(apply_orientation(lookup, turn), axes, sizes, origin, mask_XYZ, grid.affine)

    @property
    def extent_32(self) -> np.ndarray:
        """Lowest and highest coordinate of the mask, by axis, to the voxels' outer faces."""
        inside = self.lookup_XYZ >= 0
        extent = np.empty((3, 2))
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            slices = np.flatnonzero(inside.any(axis=others))
            ends = np.array([slices[0] - 0.5, slices[-1] + 0.5])
            extent[axis] = self.origin_3[axis] + self.sizes_3[axis] * ends
        return extent

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """The smallest box, in the file's grid, that holds the mask."""
        ends = []
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            filled = np.flatnonzero(self.mask_XYZ.any(axis=others))
            ends.append(slice(int(filled[0]), int(filled[-1]) + 1))
        return ends[0], ends[1], ends[2]

    def positions(self, axis: int) -> np.ndarray:
        """Coordinates of the slices across an axis."""
        return self.origin_3[axis] + self.sizes_3[axis] * np.arange(self.lookup_XYZ.shape[axis])

    def area(self, axis: int) -> np.ndarray:
        """How many voxels of the mask lie in each slice across an axis."""
        others = tuple(other for other in range(3) if other != axis)
        return np.count_nonzero(self.lookup_XYZ >= 0, axis=others)

    def voxel(self, place_3: np.ndarray) -> tuple[int, int, int]:
        """Indices in the file of the voxel at scanner's coordinates, mm."""
        x, y, z = np.linalg.solve(self.affine_44[:3, :3], place_3 - self.affine_44[:3, 3]).round()
        return int(x), int(y), int(z)

    def index(self, coordinate: np.ndarray, axis: int) -> np.ndarray:
        """Voxels nearest to coordinates along an axis; may lie outside the grid."""
        return np.rint((coordinate - self.origin_3[axis]) / self.sizes_3[axis]).astype(int)


def read_values(file: MapFile, view: View) -> np.ndarray:
    """Values of the voxels of a mask: (V,), or (V, 3) for directions.

    Raises
    ------
    InputError
        If the map does not fit the mask.
    """
    if isinstance(file.row, tuple):
        return _mean_rows(file, file.row, view)
    suffix = file.path.suffix
    n_voxels = int(np.count_nonzero(view.mask_XYZ))
    if suffix == ".safetensors":
        values = _read_tensor(file)
    elif suffix == ".npy":
        array = np.load(file.path, mmap_mode="r")
        values = array if file.row is None else array[file.row]
    else:
        image = load_image(file.path)
        data = image.dataobj if file.row is None else image.dataobj[..., file.row]
        volume = np.asarray(data, np.float32)
        if volume.shape[:3] != view.mask_XYZ.shape:
            raise InputError(
                f"{file.path}: {volume.shape[:3]} voxels, but its mask has {view.mask_XYZ.shape}"
            )
        values = volume[view.mask_XYZ]
    if len(values) != n_voxels:
        raise InputError(f"{file.path}: {len(values)} values for {n_voxels} voxels of the mask")
    return np.asarray(values, np.float32)


def _mean_rows(file: MapFile, rows: tuple[int, ...], view: View) -> np.ndarray:
    """Mean of some rows, one after the other: together they may be more than memory holds."""
    total = read_values(attrs.evolve(file, row=rows[0]), view).copy()
    for row in rows[1:]:
        total += read_values(attrs.evolve(file, row=row), view)
    return total / np.float32(len(rows))


def _read_tensor(file: MapFile) -> np.ndarray:
    from safetensors import safe_open

    with safe_open(str(file.path), framework="numpy") as tensors:
        if file.row is None:
            return tensors.get_tensor(file.field)
        # one row of a file that may hold many
        values = tensors.get_slice(file.field)[file.row]
        if file.noise:
            values = np.maximum(values - tensors.get_slice(file.noise)[file.row], 0)
        return values


@attrs.frozen(eq=False)
class Slices:
    """Where one plane is cut through both grids, and what of it is shown.

    Parameters
    ----------
    plane : str
    before, after : int
        Slice of each grid.
    position_before, position_after : float
        Coordinates of these slices, mm.
    frame_22 : ndarray
        Lowest and highest coordinate that is shown, horizontal and vertical, mm.
    """

    plane: str
    before: int
    after: int
    position_before: float
    position_after: float
    frame_22: np.ndarray


def choose_slices(
    before: View, after: View, centre_3: np.ndarray | None = None, margin: float = 8.0
) -> dict[str, Slices]:
    """Slices near a position, moved a little to where a slice of one grid meets one of the other.

    Parameters
    ----------
    before, after : View
    centre_3 : ndarray, optional
        Coordinates; default: the middle of the mask.
    margin : float
        mm that are shown around the masks: room for marks.

    Raises
    ------
    InputError
        If the grids do not share their axes.
    """
    extent = common_extent(before, after, margin)
    chosen = {}
    for plane in PLANES:
        through = AXES[plane][2]
        area, at_after = after.area(through), after.positions(through)
        middle = (area * at_after).sum() / area.sum() if centre_3 is None else centre_3[through]
        chosen[plane] = _meeting(before, after, plane, float(middle), extent, full=centre_3 is None)
    return chosen


def spread_slices(before: View, after: View, margin: float = 4.0) -> tuple[Slices, ...]:
    """Several slices of every plane, spread over the brain; see :data:`SPREAD`.

    Raises
    ------
    InputError
        If the grids do not share their axes.
    """
    extent = common_extent(before, after, margin)
    chosen = []
    for plane, parts in SPREAD.items():
        through = AXES[plane][2]
        below = np.cumsum(after.area(through))
        at = np.searchsorted(below, np.array(parts) * below[-1])
        # through the brain from its front, its top or its right on
        for position in after.positions(through)[at][::-1]:
            chosen.append(_meeting(before, after, plane, float(position), extent))
    return tuple(chosen)


def common_extent(before: View, after: View, margin: float) -> np.ndarray:
    """Lowest and highest coordinate of both masks, (3, 2), with a margin, mm.

    Raises
    ------
    InputError
        If the grids do not share their axes.
    """
    if not np.allclose(before.axes_33, after.axes_33, atol=1e-3):
        raise InputError("the grids before and after do not share their axes; nothing to compare")
    ends = np.stack([before.extent_32, after.extent_32])
    return np.stack([ends[..., 0].min(0) - margin, ends[..., 1].max(0) + margin], 1)


def _meeting(
    before: View,
    after: View,
    plane: str,
    middle: float,
    extent_32: np.ndarray,
    full: bool = True,
) -> Slices:
    """Slice of each grid near a position, moved a little to where the two lie together.

    If it is to be ``full``, slices that hold little of the brain are passed over.
    """
    across, up, through = AXES[plane]
    at_before, at_after = before.positions(through), after.positions(through)
    nearest = np.clip(before.index(at_after, through), 0, len(at_before) - 1)
    area = after.area(through)
    away = np.abs(at_after - middle)
    cost = np.abs(at_before[nearest] - at_after) + 0.05 * away
    cost[(away > SEARCH_MM) & (away > away.min())] = np.inf
    if full:
        cost[area < 0.1 * area.max()] += 1e6
    k = int(np.argmin(cost))
    return Slices(
        plane,
        int(nearest[k]),
        k,
        float(at_before[nearest[k]]),
        float(at_after[k]),
        extent_32[[across, up]],
    )


def zoom(slices: Slices, centre_3: np.ndarray, size: float) -> Slices:
    """The same slices, showing a square of ``size`` mm around a coordinate."""
    across, up, _ = AXES[slices.plane]
    middle = np.asarray(centre_3)[[across, up]]
    frame = np.stack([middle - size / 2, middle + size / 2], 1)
    return attrs.evolve(slices, frame_22=frame)


def pixel_lookup(view: View, slices: Slices, index: int, scale: float) -> np.ndarray:
    """Index among the mask's values of every pixel of a picture; -1 outside the mask.

    Rows run from superior (or anterior) downwards. Columns follow the radiological convention:
    the patient's right is on the left of the picture, and anterior on the left of a sagittal one.

    Parameters
    ----------
    view : View
    slices : Slices
        What is shown.
    index : int
        The slice of this view.
    scale : float
        Pixels a mm.
    """
    across, up, through = AXES[slices.plane]
    sheet = np.take(view.lookup_XYZ, index, axis=through)
    indices = []
    for axis, (low, high) in zip((across, up), slices.frame_22, strict=True):
        pixels = max(1, round((high - low) * scale))
        # both axes run backwards over the picture: right and anterior on the left, superior on top
        indices.append(view.index(high - (np.arange(pixels) + 0.5) / scale, axis))
    columns, rows = indices
    inside = np.logical_and.outer(
        (rows >= 0) & (rows < sheet.shape[1]), (columns >= 0) & (columns < sheet.shape[0])
    )
    picked = sheet[
        np.clip(columns, 0, sheet.shape[0] - 1)[None, :],
        np.clip(rows, 0, sheet.shape[1] - 1)[:, None],
    ]
    return np.where(inside, picked, -1)


@attrs.frozen(eq=False)
class Bridge:
    """Linear interpolation from the values of one mask to voxels of another.

    Weights of neighbours outside the first mask are shared out among the others.

    Parameters
    ----------
    voxels : ndarray (P,)
        Indices among the values of the second mask.
    indices_8P : ndarray
        Indices of the eight neighbours among the values of the first.
    weights_8P : ndarray
        Add up to 1; all 0 where no neighbour is in the first mask.
    """

    voxels: np.ndarray
    indices_8P: np.ndarray
    weights_8P: np.ndarray

    @classmethod
    def build(cls, source: View, target: View, slices: Slices) -> Bridge:
        """For the voxels of one slice of ``target``."""
        _, _, through = AXES[slices.plane]
        sheet = np.take(target.lookup_XYZ, slices.after, axis=through)
        first, second = np.nonzero(sheet >= 0)
        voxels_3P = np.insert(np.stack([first, second]), through, slices.after, axis=0)
        coordinates_3P = target.origin_3[:, None] + target.sizes_3[:, None] * voxels_3P
        at_3P = (coordinates_3P - source.origin_3[:, None]) / source.sizes_3[:, None]
        base_3P = np.floor(at_3P).astype(int)
        part_3P = at_3P - base_3P
        limits = np.array(source.lookup_XYZ.shape)[:, None]
        indices, weights = [], []
        for corner in product((0, 1), repeat=3):
            step = np.array(corner)[:, None]
            neighbour = base_3P + step
            weight = np.prod(np.where(step == 1, part_3P, 1 - part_3P), axis=0)
            inside = ((neighbour >= 0) & (neighbour < limits)).all(0)
            index = source.lookup_XYZ[tuple(np.clip(neighbour, 0, limits - 1))]
            weights.append(np.where(inside & (index >= 0), weight, 0.0))
            indices.append(np.maximum(index, 0))
        weights_8P = np.stack(weights)
        total = weights_8P.sum(0)
        weights_8P = np.divide(weights_8P, total, where=total > 0, out=np.zeros_like(weights_8P))
        return cls(sheet[first, second], np.stack(indices), weights_8P)

    def __call__(self, values_V: np.ndarray) -> np.ndarray:
        """Interpolate (V,) or (V, C) to (P,) or (P, C)."""
        picked = values_V[self.indices_8P]
        weights = self.weights_8P.reshape(*self.weights_8P.shape, *[1] * (picked.ndim - 2))
        return (picked * weights).sum(0)

    @property
    def covered(self) -> np.ndarray:
        """Which voxels (P,) have a neighbour in the first mask."""
        return np.asarray(np.any(self.weights_8P, axis=0))
