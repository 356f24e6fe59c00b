"""Gradient tables and shells.

Directions are kept in the scanner frame (RAS+ world axes): the frame in which
spherical harmonics do not depend on how an image happens to be stored.
"""

from __future__ import annotations

import attrs
import numpy as np

from dmri7t.errors import InputError
from dmri7t.signal.grids import as_floats

B0_THRESHOLD = 100.0
"""b-values (s/mm2) up to this one count as b = 0; HCP's 7T b0s are 55 to 65."""

SHELL_GAP = 100.0
"""Sorted b-values (s/mm2) further apart than this belong to different shells."""

MIN_DIRECTIONS = 6
"""Fewer different directions do not carry a fit of order 2, nor a tensor."""

TENSOR_BVAL_LIMIT = 1500.0
"""Shells up to this b-value (s/mm2) enter the tensor, where there are any: beyond, the signal
is not Gaussian."""

TENSOR_BVAL_USUAL = 1000.0
"""The b-value (s/mm2) at which tensors are usually measured; FA is mostly of the shell nearest."""


def _image_rotation(affine: np.ndarray) -> np.ndarray:
    """Rotation from image axes to scanner axes, without zooms or shears, (3, 3)."""
    left, _, right = np.linalg.svd(np.asarray(affine, float)[:3, :3])
    # the polar factor is the orthogonal matrix nearest to the affine's directions
    return left @ right


@attrs.frozen(eq=False)
class GradientTable:
    """b-values and directions of a scan, volume by volume.

    Parameters
    ----------
    bvals : ndarray (N,)
        s/mm2.
    directions : ndarray (N, 3)
        Unit vectors in the scanner frame; zero where there is no direction.
    """

    bvals: np.ndarray = attrs.field(converter=as_floats)
    directions: np.ndarray = attrs.field(converter=as_floats)

    def __attrs_post_init__(self) -> None:
        if self.directions.shape != (len(self.bvals), 3):
            raise InputError(
                f"gradient table: {len(self.bvals)} b-values but directions of shape "
                f"{self.directions.shape}; expected ({len(self.bvals)}, 3)"
            )

    @classmethod
    def from_fsl(cls, bvals: np.ndarray, bvecs: np.ndarray, affine: np.ndarray) -> GradientTable:
        """Read FSL's convention: image axes, x negated where the affine's determinant is positive.

        Parameters
        ----------
        bvals : ndarray (N,)
            s/mm2.
        bvecs : ndarray (3, N)
            As they stand in the file.
        affine : ndarray (4, 4)
            Of the image that the gradients belong to.

        Examples
        --------
        >>> table = GradientTable.from_fsl([1000], [[1], [0], [0]], np.diag([2, 2, 2, 1]))
        >>> table.directions.tolist()
        [[-1.0, 0.0, 0.0]]
        """
        vectors = np.asarray(bvecs, float).T.copy()
        if np.linalg.det(np.asarray(affine, float)[:3, :3]) > 0:
            vectors[:, 0] *= -1
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 0)
        return cls(bvals, unit @ _image_rotation(affine).T + 0.0)

    def to_fsl(self, affine: np.ndarray) -> np.ndarray:
        """Directions as an FSL bvec array (3, N) for an image with this affine."""
        vectors = self.directions @ _image_rotation(affine)
        if np.linalg.det(np.asarray(affine, float)[:3, :3]) > 0:
            vectors[:, 0] *= -1
        return vectors.T + 0.0

    def __len__(self) -> int:
        return len(self.bvals)


@attrs.frozen
class ShellVolumes:
    """Volumes that share a b-value.

    Parameters
    ----------
    bval : float
        Mean b-value of the volumes, s/mm2.
    indices : tuple of int
        Their positions in the scan.
    """

    bval: float
    indices: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name for files and nodes, such as ``b1000``."""
        return f"b{round(self.bval)}"

    def __len__(self) -> int:
        return len(self.indices)


def find_shells(
    bvals: np.ndarray, b0_threshold: float = B0_THRESHOLD, gap: float = SHELL_GAP
) -> tuple[tuple[int, ...], list[ShellVolumes]]:
    """Cluster the b-values of a scan.

    Sorted b-values are cut wherever two neighbours are more than ``gap`` apart, so jitter
    within a shell (995, 1000, 1005) does not split it.

    Parameters
    ----------
    bvals : ndarray (N,)
        s/mm2.
    b0_threshold : float
        Volumes up to this b-value are b0.
    gap : float
        Distance that parts two shells, s/mm2.

    Returns
    -------
    b0 : tuple of int
        Indices of the b0 volumes.
    shells : list of ShellVolumes
        In order of rising b-value.

    Examples
    --------
    >>> b0, shells = find_shells([5, 995, 1005, 65, 2010, 1990])
    >>> b0, [(s.name, s.indices) for s in shells]
    ((0, 3), [('b1000', (1, 2)), ('b2000', (4, 5))])
    """
    bvals = np.asarray(bvals, float)
    b0 = tuple(int(i) for i in np.flatnonzero(bvals <= b0_threshold))
    weighted = np.flatnonzero(bvals > b0_threshold)
    weighted = weighted[np.argsort(bvals[weighted], kind="stable")]
    cuts = np.flatnonzero(np.diff(bvals[weighted]) > gap) + 1
    groups = [np.sort(group) for group in np.split(weighted, cuts) if len(group)]
    return b0, [ShellVolumes(float(bvals[g].mean()), tuple(int(i) for i in g)) for g in groups]


def count_distinct(directions_N3: np.ndarray, degrees: float = 2.0) -> int:
    """Count directions of which no two are nearer than this angle; opposite ones are the same.

    Averages of one scheme hold each direction many times, which adds no angles.

    Examples
    --------
    >>> count_distinct([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [1, 0, 0]])
    2
    """
    vectors = np.asarray(directions_N3, float)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = np.abs(unit @ unit.T) > np.cos(np.deg2rad(degrees))
    # each counts if no earlier one is near
    return int((~np.tril(near, -1).any(1)).sum())


def group_directions(directions_N3: np.ndarray, degrees: float = 2.0) -> list[list[int]]:
    """Rows that measure one direction, each with the first to which it is near.

    Examples
    --------
    >>> group_directions([[1, 0, 0], [0, 1, 0], [-1, 0, 0]])
    [[0, 2], [1]]
    """
    vectors = np.asarray(directions_N3, float)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = np.abs(unit @ unit.T) > np.cos(np.deg2rad(degrees))
    groups: dict[int, list[int]] = {}
    for row, nearest in enumerate(near):
        first = next((i for i in groups if nearest[i]), row)
        groups.setdefault(first, []).append(row)
    return list(groups.values())


def split_directions(directions_N3: np.ndarray) -> tuple[list[int], list[int]]:
    """Part directions into two halves that are spread well, each by itself.

    Directions repel each other within a half, as charges do (Jones et al. 1999, MRM 42:515; a
    direction and its opposite are the same); they change halves two by two as long as that
    lowers the energy.

    Examples
    --------
    >>> close = np.array([[1, 0, 0], [0, 1, 0], [0.99, 0.1, 0], [0, 0.99, 0.1]])
    >>> [sum(i in (0, 2) for i in half) for half in split_directions(close)]
    [1, 1]
    """
    n = len(directions_N3)
    gaps = [directions_N3[:, None] - s * directions_N3[None] for s in (1, -1)]
    # repeated directions lie on top of each other: the force is kept finite
    force = sum(1 / np.maximum(np.linalg.norm(gap, axis=-1), 1e-3) for gap in gaps)
    np.fill_diagonal(force, 0)
    side = np.arange(n) % 2
    while True:
        # what each direction feels of the first half and of the second
        felt = np.stack([force @ (side == h) for h in (0, 1)])
        first, second = np.flatnonzero(side == 0), np.flatnonzero(side == 1)
        change = (felt[1] - felt[0])[first][:, None] + (felt[0] - felt[1])[second][None]
        # the two no longer feel each other as counted
        change = change - 2 * force[np.ix_(first, second)]
        i, j = np.unravel_index(np.argmin(change), change.shape)
        if change[i, j] > -1e-9:
            return first.tolist(), second.tolist()
        side[first[i]], side[second[j]] = 1, 0
