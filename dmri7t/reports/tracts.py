"""What the result does to tractography: peaks in white matter, and a short tractogram, by DIPY.

Both sides are treated alike: the orientation distribution of constant solid angle (Aganj et al.
2010, doi:10.1002/mrm.22365) of one shell, its peaks in white matter, and deterministic
streamlines from the same seeds. A few thousand voxels and seeds are enough to compare the two, and
cost seconds.
"""

from __future__ import annotations

import numpy as np

from dmri7t.reports.maps import ScanMaps, SignalRows
from dmri7t.reports.records import TractCounts, Tracts
from dmri7t.reports.views import View, read_values

WHITE_FA = 0.35
"""FA of the input above which peaks are counted and seeds lie."""

STOP_FA = 0.15
"""Streamlines end where FA of their own side falls below it."""

SEEDS = 2000

PEAK_PART = 0.5
"""A peak is at least so high over the highest."""

APART_DEGREES = 25.0

LEAST_MM, MOST_MM = 20.0, 250.0
"""Streamlines that count."""

STEP_MM = 1.0
"""The same on both sides: the largest angle is one of a step."""

ORDER = 4


def compare_tracts(before: ScanMaps, after: ScanMaps, directions_N3: np.ndarray) -> Tracts | None:
    """Count peaks and streamlines before and after, at the same places.

    Parameters
    ----------
    before, after : ScanMaps
        With the signals of one shell, and FA.
    directions_N3 : ndarray
        Of all volumes, scanner's frame.

    Returns
    -------
    Tracts or None
        None where there are no signals, no FA, or too few directions for order 4.
    """
    if before.signal is None or after.signal is None or not before.fa or not after.fa:
        return None
    if len(before.signal.rows) < (ORDER + 1) * (ORDER + 2) // 2:
        return None
    seeds_P3 = _seeds(before)
    if not len(seeds_P3):
        return None
    one, other = (
        _count(maps, maps.signal, seeds_P3, directions_N3)
        for maps in (before, after)
        if maps.signal is not None
    )
    return Tracts(len(seeds_P3), LEAST_MM, one, other)


def _seeds(maps: ScanMaps) -> np.ndarray:
    """Middles of voxels of white matter (n, 3), scanner's coordinates, evenly chosen."""
    assert maps.fa is not None
    view = View.open(maps.mask)
    white = np.flatnonzero(read_values(maps.fa, view) > WHITE_FA)
    chosen = white[:: max(1, len(white) // SEEDS)][:SEEDS]
    voxels_P3 = np.argwhere(view.mask_XYZ)[chosen]
    return voxels_P3 @ view.affine_44[:3, :3].T + view.affine_44[:3, 3]


def _count(
    maps: ScanMaps, signal: SignalRows, seeds_P3: np.ndarray, directions_N3: np.ndarray
) -> TractCounts:
    from dipy.core.gradients import gradient_table
    from dipy.data import default_sphere
    from dipy.reconst.shm import CsaOdfModel, sh_to_sf_matrix
    from dipy.tracking.stopping_criterion import ThresholdStoppingCriterion
    from dipy.tracking.streamline import length
    from dipy.tracking.tracker import deterministic_tracking

    assert maps.fa is not None
    view = View.open(maps.mask)
    fa_V, b0_V = read_values(maps.fa, view), read_values(maps.b0, view)
    box, sizes = view.box, np.linalg.norm(view.affine_44[:3, :3], axis=0)
    affine = view.affine_44.copy()
    affine[:3, 3] += affine[:3, :3] @ [s.start for s in box]
    inside = fa_V > STOP_FA
    # one b0 before the shell, directions along the axes of the image
    turned = directions_N3[list(signal.rows)] @ (affine[:3, :3] / sizes)
    table = gradient_table(
        np.r_[0.0, np.full(len(turned), max(signal.bval, 1.0))],
        bvecs=np.vstack([np.zeros(3), turned]),
        b0_threshold=0.5,
    )
    rows = np.load(signal.path, mmap_mode="r")
    measured_PN = np.stack([b0_V[inside], *(rows[row][inside] for row in signal.rows)], 1)
    fitted = CsaOdfModel(table, ORDER).fit(measured_PN)
    sh_VC = np.zeros((len(fa_V), fitted.shm_coeff.shape[-1]), np.float32)
    sh_VC[inside] = fitted.shm_coeff
    at = np.rint((seeds_P3 - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T).astype(int)
    sh_XYZC = _place(view, sh_VC)
    basis, _ = sh_to_sf_matrix(default_sphere, sh_order_max=ORDER, basis_type="descoteaux07")
    limits = np.array(sh_XYZC.shape[:3]) - 1
    peaks = _peaks(sh_XYZC[tuple(np.clip(at, 0, limits).T)] @ basis, default_sphere)
    streamlines = deterministic_tracking(
        seeds_P3,
        ThresholdStoppingCriterion(_place(view, fa_V).astype(np.float64), STOP_FA),
        affine,
        sh=sh_XYZC.astype(np.float64),
        basis_type="descoteaux07",
        sphere=default_sphere,
        voxel_size=sizes,
        step_size=STEP_MM,
        min_len=LEAST_MM,
        max_len=MOST_MM,
        max_angle=30,
        nbr_threads=1,
        random_seed=1,
        return_all=False,
    )
    lengths = [mm for mm in map(length, streamlines) if mm >= LEAST_MM]
    return TractCounts(peaks, len(lengths), float(np.median(lengths)) if lengths else 0.0)


def _place(view: View, values: np.ndarray) -> np.ndarray:
    """Lay values (V, ...) into the box of the mask."""
    volume = np.zeros((*view.mask_XYZ.shape, *values.shape[1:]), values.dtype)
    volume[view.mask_XYZ] = values
    return volume[view.box]


def _peaks(odf_PS: np.ndarray, sphere: object) -> tuple[float, float, float]:
    """Part of some distributions with one, two, and three or more peaks."""
    from dipy.direction import peak_directions

    counts = np.zeros(3)
    for odf in odf_PS.astype(np.float64):
        if odf.max() <= 0:
            continue
        found = len(
            peak_directions(
                odf,
                sphere,
                relative_peak_threshold=PEAK_PART,
                min_separation_angle=APART_DEGREES,
            )[0]
        )
        counts[min(max(found, 1), 3) - 1] += 1
    one, two, three = counts / max(counts.sum(), 1)
    return float(one), float(two), float(three)
