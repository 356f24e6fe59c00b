"""Gradient tables and shells.

Directions are kept in the scanner frame (RAS+ world axes): the frame in which
spherical harmonics do not depend on how an image happens to be stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from dmri7t.errors import InputError
from dmri7t.signal.grids import as_floats

B0_THRESHOLD = 100.0
"""b-values (s/mm2) up to this one count as b = 0; HCP's 7T b0s are 55 to 65."""

SHELL_GAP = 100.0
"""Sorted b-values (s/mm2) further apart than this belong to different shells."""

SHELL_WIDTH, SHELL_WIDTH_SHARE = 100.0, 0.1
"""b-values of one shell lie within so many s/mm2, or within this share of their mean: beyond, one
signal would be fitted to several."""

CLEAR_CUT = 3.0
"""Gaps that part a group of b-values are so many times those within its parts, at least."""

B0_SPREAD = 25.0
"""b0s lie within so many s/mm2 of the lowest: more, and free water has lost a tenth."""

MANY_BVALS = 6
"""More different b-values than this are a scheme without shells, such as a grid in q-space."""

SHELL_OF_MANY, SHELL_OF_MANY_SHARE = 25, 0.25
"""One of many b-values is a shell all the same if it has so many directions, or this share of the
volumes. A grid in q-space has at most 24 directions at one b-value."""

WORST_CONDITION = 10.0
"""Condition number of the fit of order 2, or of a tensor, up to which directions tell one. Spread
evenly they have 1.4 at most, the usual sets of six 3; in a plane or on a cone it is infinite."""

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

    def take(self, indices: Sequence[int]) -> GradientTable:
        """Gradients of some volumes."""
        rows = list(indices)
        return GradientTable(self.bvals[rows], self.directions[rows])

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
    within a shell (995, 1000, 1005) does not split it. A group that is wider than a shell can be,
    a chain, is cut where its gaps are clearly larger than others, if they are; else it stays, and
    :func:`why_no_shell` says what it is.

    Parameters
    ----------
    bvals : ndarray (N,)
        s/mm2.
    b0_threshold : float
        Volumes up to this b-value can be b0; they are, within :data:`B0_SPREAD` of the lowest.
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
    >>> b0, shells = find_shells([55, 995, 1005, 65, 2010, 1990])
    >>> b0, [(s.name, s.indices) for s in shells]
    ((0, 3), [('b1000', (1, 2)), ('b2000', (4, 5))])
    >>> b0, shells = find_shells([0, 100, 100, 800, 900, 1000, 800, 900, 1000])
    >>> b0, [(s.name, s.indices) for s in shells]
    ((0,), [('b100', (1, 2)), ('b800', (3, 6)), ('b900', (4, 7)), ('b1000', (5, 8))])
    """
    bvals = np.asarray(bvals, float)
    highest = min(b0_threshold, bvals.min(initial=b0_threshold) + B0_SPREAD)
    b0 = tuple(int(i) for i in np.flatnonzero(bvals <= highest))
    weighted = np.flatnonzero(bvals > highest)
    weighted = weighted[np.argsort(bvals[weighted], kind="stable")]
    cuts = np.flatnonzero(np.diff(bvals[weighted]) > gap) + 1
    groups = [part for group in np.split(weighted, cuts) for part in _part_chain(bvals, group)]
    shells = [ShellVolumes(float(bvals[g].mean()), tuple(np.sort(g).tolist())) for g in groups]
    return b0, shells


def _part_chain(bvals: np.ndarray, group: np.ndarray) -> list[np.ndarray]:
    """Cut sorted volumes into groups narrow enough for shells, if gaps say where; else as is."""
    if not len(group):
        return []
    steps = np.diff(bvals[group])
    for least in sorted({float(step) for step in steps if step > 0}, reverse=True):
        if not _is_wide(bvals[group]):
            break
        parts = np.split(group, np.flatnonzero(steps >= least) + 1)
        if any(_is_wide(bvals[part]) for part in parts):
            continue
        inner = steps[steps < least].max(initial=0)
        return parts if least >= CLEAR_CUT * inner else [group]
    return [group]


def _is_wide(bvals: np.ndarray) -> bool:
    return bool(np.ptp(bvals) > max(SHELL_WIDTH, SHELL_WIDTH_SHARE * bvals.mean()))


def why_no_shell(table: GradientTable, shell: ShellVolumes, shells: list[ShellVolumes]) -> str:
    """Say why volumes cannot be fitted as a shell; empty if they can.

    Parameters
    ----------
    table : GradientTable
    shell : ShellVolumes
    shells : list of ShellVolumes
        All of the scan, ``shell`` among them.

    Examples
    --------
    >>> turn = np.arange(12) * np.pi / 12
    >>> flat = np.stack([np.cos(turn), np.sin(turn), 0 * turn], 1)
    >>> shell = ShellVolumes(1000.0, tuple(range(12)))
    >>> why_no_shell(GradientTable(np.full(12, 1000.0), flat), shell, [shell])
    'its 12 different directions lie too near to a plane or a cone to tell a tensor'
    """
    rows = list(shell.indices)
    bvals, directions_N3 = table.bvals[rows], table.directions[rows]
    distinct = count_distinct(directions_N3)
    if distinct < MIN_DIRECTIONS:
        return f"{distinct} different directions, {MIN_DIRECTIONS} are needed"
    if _is_wide(bvals):
        return f"no shell: its b-values run from {bvals.min():.4g} to {bvals.max():.4g} s/mm2"
    many = distinct >= SHELL_OF_MANY
    many |= len(rows) >= SHELL_OF_MANY_SHARE * sum(len(each) for each in shells)
    if len(shells) > MANY_BVALS and not many:
        low, high = shells[0].bval, shells[-1].bval
        return (
            f"one of {len(shells)} b-values from {low:.4g} to {high:.4g} s/mm2: a scheme without "
            "shells"
        )
    if not tells_tensor(directions_N3):
        return (
            f"its {distinct} different directions lie too near to a plane or a cone to tell a "
            "tensor"
        )
    return ""


def tells_tensor(directions_N3: np.ndarray) -> bool:
    """Whether directions determine a tensor, and so harmonics of order 2.

    Examples
    --------
    >>> axes = np.concatenate([np.eye(3), 1 - np.eye(3)])
    >>> tells_tensor(axes), tells_tensor(axes[:5])
    (True, False)
    """
    vectors = np.asarray(directions_N3, float)
    norm = np.linalg.norm(vectors, axis=1)
    unit = vectors[norm > 0] / norm[norm > 0, None]
    if len(unit) < MIN_DIRECTIONS:
        return False
    x, y, z = unit.T
    # orthonormal over the sphere, so that an even spread has a condition number of 1
    columns = [
        np.full_like(x, np.sqrt(4 / 15)),
        2 * x * y,
        2 * x * z,
        2 * y * z,
        x * x - y * y,
        (3 * z * z - 1) / np.sqrt(3),
    ]
    return bool(np.linalg.cond(np.stack(columns, 1)) <= WORST_CONDITION)


def count_distinct(directions_N3: np.ndarray, degrees: float = 2.0) -> int:
    """Count directions of which no two are nearer than this angle; opposite ones are the same.

    Averages of one scheme hold each direction many times, which adds no angles.

    Examples
    --------
    >>> count_distinct([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [1, 0, 0]])
    2
    """
    vectors = np.asarray(directions_N3, float)
    norm = np.linalg.norm(vectors, axis=1)
    # what has no direction counts for none
    unit = vectors[norm > 0] / norm[norm > 0, None]
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
