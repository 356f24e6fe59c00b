"""Peaks of fibre orientations by constrained spherical deconvolution (DIPY), where fibres cross."""

from __future__ import annotations

import attrs
import numpy as np

NEAR = 30.0
"""Degrees within which a peak is one of the truth's."""

APART = 25.0
"""Least angle between two peaks of a voxel."""

FAINTEST = 0.3
"""Of the largest peak: fainter ones do not count."""

SINGLE = 300
"""Voxels of which the response of a single fibre is taken."""

FINENESS = 1
"""How often DIPY's sphere of 724 points is subdivided: peaks then lie 4 degrees apart."""


@attrs.frozen(eq=False)
class Deconvolution:
    """A scheme and the response of a single fibre.

    Parameters
    ----------
    bval : float
        s/mm2.
    directions_N3 : ndarray (N, 3)
    eigenvalues : ndarray (3,)
        mm2/s, of the response's tensor.
    signal : float
        Its signal without weighting.
    """

    bval: float
    directions_N3: np.ndarray
    eigenvalues: np.ndarray
    signal: float = 1.0

    @classmethod
    def of(cls, truth_VN: np.ndarray, bval: float, directions_N3: np.ndarray) -> Deconvolution:
        """Take the response from the voxels of a truth (V, N), S / S0, with the highest FA."""
        from dipy.reconst.dti import TensorModel

        fit = TensorModel(_table(bval, directions_N3)).fit(_with_b0(truth_VN))
        single = np.argsort(fit.fa)[-SINGLE:]
        first, second, third = fit.evals[single].mean(0)
        # a response is the same all around its axis
        across = (second + third) / 2
        return cls(bval, directions_N3, np.array([first, across, across]))

    def peaks(self, signal_VN: np.ndarray) -> list[np.ndarray]:
        """Directions (K, 3) of up to three peaks of each voxel.

        Parameters
        ----------
        signal_VN : ndarray (V, N)
            S / S0.
        """
        from dipy.data import default_sphere
        from dipy.direction.peaks import peak_directions
        from dipy.reconst.csdeconv import ConstrainedSphericalDeconvModel

        table = _table(self.bval, self.directions_N3)
        response = (self.eigenvalues, self.signal)
        order = 8 if len(self.directions_N3) >= 45 else 6
        model = ConstrainedSphericalDeconvModel(table, response, sh_order_max=order)
        sphere = default_sphere.subdivide(n=FINENESS)
        density_VS = model.fit(_with_b0(signal_VN)).odf(sphere)
        found = []
        for density_S in density_VS:
            directions, _, _ = peak_directions(
                density_S,
                sphere,
                relative_peak_threshold=FAINTEST,
                min_separation_angle=APART,
            )
            found.append(directions[:3])
        return found


def _table(bval: float, directions_N3: np.ndarray) -> object:
    from dipy.core.gradients import gradient_table

    bvals = np.array([0.0, *[bval] * len(directions_N3)])
    return gradient_table(bvals, bvecs=np.concatenate([np.zeros((1, 3)), directions_N3]))


def _with_b0(signal_VN: np.ndarray) -> np.ndarray:
    return np.concatenate([np.ones((len(signal_VN), 1)), signal_VN], 1)


@attrs.frozen
class Agreement:
    """How peaks agree with those of a truth.

    Parameters
    ----------
    degrees : float
        Mean angle between peaks that belong together; nan where none do.
    missed, false : float
        Peaks of the truth without one of the answer's, and the reverse, a voxel.
    """

    degrees: float
    missed: float
    false: float


def agreement(answer: list[np.ndarray], truth: list[np.ndarray]) -> Agreement:
    """Match peaks voxel by voxel, the nearest first, within :data:`NEAR`.

    Examples
    --------
    >>> x, y, z = np.eye(3)
    >>> agreement([np.array([x, z])], [np.array([-x, y])])
    Agreement(degrees=0.0, missed=1.0, false=1.0)
    """
    angles: list[float] = []
    missed = false = 0
    for mine, right in zip(answer, truth, strict=True):
        between = np.degrees(np.arccos(np.clip(np.abs(mine @ right.T), 0, 1)))
        matched = 0
        while between.size and between.min() <= NEAR:
            i, j = np.unravel_index(np.argmin(between), between.shape)
            angles.append(float(between[i, j]))
            between[i, :] = between[:, j] = np.inf
            matched += 1
        missed += len(right) - matched
        false += len(mine) - matched
    n = max(len(truth), 1)
    return Agreement(float(np.mean(angles)) if angles else float("nan"), missed / n, false / n)
