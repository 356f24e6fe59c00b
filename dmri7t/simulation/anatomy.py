"""A simulated head: tissues and fibre directions as functions of position.

Cortical folds are the zero set of a smooth random field, stretched along the way inwards: sheets
that reach down from the hull, as sulci do. Grey matter is a ribbon around them and below the hull.
Every quantity can be evaluated on any block.
"""

from __future__ import annotations

import attrs
import numpy as np
import torch

from dmri7t.simulation.fields import Axes, SmoothField

HALF_EXTENT = np.array([95.0, 115.0, 95.0])
"""Half the edges of the box that holds the head, mm."""

SEMI_AXES = np.array([67.0, 84.0, 64.0])
"""Mean semi-axes of the brain's hull: left-right, front-back, bottom-top, mm."""


@attrs.frozen(eq=False)
class Tissue:
    """Volume fractions and directions on a grid.

    Parameters
    ----------
    csf, gm, wm, scalp : Tensor (X, Y, Z)
        Fractions; what is missing to one is air and bone.
    directions : Tensor (4, 3, X, Y, Z)
        Unit vectors: three fibre populations of white matter, and the cortical normal.
    fractions : Tensor (3, X, Y, Z)
        Of the populations within white matter; sum to one.
    maturity : Tensor (X, Y, Z)
        Between 0 and 1: place between the two ends of the white matter's properties.
    """

    csf: torch.Tensor
    gm: torch.Tensor
    wm: torch.Tensor
    scalp: torch.Tensor
    directions: torch.Tensor
    fractions: torch.Tensor
    maturity: torch.Tensor


def _ramp(distance: torch.Tensor, width: float) -> torch.Tensor:
    """Soft step from 0 to 1 over about four widths (mm)."""
    return torch.sigmoid(distance / width)


def _unit(vectors: torch.Tensor, dim: int) -> torch.Tensor:
    # several times faster than torch's norm over a leading axis
    return vectors * (vectors * vectors).sum(dim, keepdim=True).clamp_min(1e-12).rsqrt()


@attrs.frozen(eq=False)
class Phantom:
    """One simulated head, drawn by :meth:`draw`.

    Positions are in mm from the centre of the brain: x to the right, y to the front, z up.
    """

    semi_axes: np.ndarray
    shape_field: SmoothField
    fold_field: SmoothField
    fold_rate: float
    region_field: SmoothField
    orientation_field: SmoothField
    detail_field: SmoothField
    sulcal_depth: float
    sulcal_width: float
    cortical_thickness: float
    subarachnoid: float
    ventricle_scale: float
    dispersal: float
    crossing: float
    dominance: float

    @classmethod
    def draw(cls, rng: np.random.Generator, scale: float = 1.0) -> Phantom:
        """Draw a brain; ``scale`` shrinks or enlarges the whole head."""
        return cls(
            semi_axes=scale * SEMI_AXES * rng.uniform(0.92, 1.08, 3),
            shape_field=SmoothField.draw(rng, 28.0, HALF_EXTENT, 2),
            fold_field=SmoothField.draw(rng, rng.uniform(4.5, 8.5), HALF_EXTENT, 1),
            fold_rate=rng.uniform(0.3, 0.75),
            region_field=SmoothField.draw(rng, rng.uniform(2.2, 6.5), HALF_EXTENT, 4),
            orientation_field=SmoothField.draw(rng, rng.uniform(6.0, 22.0), HALF_EXTENT, 9),
            detail_field=SmoothField.draw(rng, rng.uniform(2.2, 4.0), HALF_EXTENT, 2),
            sulcal_depth=rng.uniform(15.0, 40.0),
            sulcal_width=rng.uniform(0.1, 2.2),
            cortical_thickness=rng.uniform(2.0, 4.2),
            subarachnoid=rng.uniform(0.5, 3.0),
            ventricle_scale=rng.uniform(0.7, 1.5),
            dispersal=rng.uniform(0.3, 1.0),
            crossing=rng.uniform(0.2, 2.0),
            dominance=rng.uniform(-0.2, 1.2),
        )

    def _depth(self, axes: Axes) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Depth below the hull (mm) and the broadcastable coordinates."""
        x, y, z = (
            torch.as_tensor(axes[a], dtype=torch.float32).reshape(
                [-1 if a == b else 1 for b in range(3)]
            )
            for a in range(3)
        )
        a, b, c = (float(s) for s in self.semi_axes)
        # the base of a brain is flatter than its top
        low = torch.where(z < 0, c * 0.82, torch.as_tensor(c))
        radius = ((x / a) ** 2 + (y / b) ** 2 + (z / low) ** 2).sqrt()
        radius = radius + 0.045 * self.shape_field.at(axes)[0]
        return (1 - radius) * float(np.mean(self.semi_axes)), [x, y, z]

    def _ventricles(self, coords: list[torch.Tensor], axes: Axes) -> torch.Tensor:
        """Signed distance (mm, positive inside) to the lateral ventricles."""
        x, y, z = coords
        warp = 1.5 * self.shape_field.at(axes)[1]
        s = self.ventricle_scale * float(np.mean(self.semi_axes)) / 71
        arch = z - 9 + ((y + 2) / 28) ** 2 * 7
        r = (
            ((x.abs() - 8) / (4.5 * s)) ** 2 + ((y + 2) / (34 * s)) ** 2 + (arch / (6.5 * s)) ** 2
        ).sqrt()
        return (1 - r) * 5 * s + 0.4 * warp

    def _deep_grey(self, coords: list[torch.Tensor]) -> torch.Tensor:
        """Signed distance (mm, positive inside) to thalamus and putamen, roughly."""
        x, y, z = coords
        s = float(np.mean(self.semi_axes)) / 71
        nuclei = [
            ((11, -10, 1), (8, 13, 8)),
            ((26, 6, 0), (5.5, 15, 9)),
            ((13, 14, 6), (4.5, 9, 7)),
        ]
        distances = []
        for (cx, cy, cz), (sx, sy, sz) in nuclei:
            r = (
                ((x.abs() - cx * s) / (sx * s)) ** 2
                + ((y - cy * s) / (sy * s)) ** 2
                + ((z - cz * s) / (sz * s)) ** 2
            ).sqrt()
            distances.append((1 - r) * min(sx, sy, sz) * s)
        return torch.stack(distances).amax(0)

    def depth(self, axes: Axes) -> torch.Tensor:
        """Depth below the brain's outer surface in mm, negative outside, (X, Y, Z)."""
        return self._depth(axes)[0] + self.subarachnoid

    def at(self, axes: Axes) -> Tissue:
        """Evaluate the head on an axis-aligned grid given in mm."""
        depth, coords = self._depth(axes)
        to_csf, normal = self._distance_to_csf(depth, coords, axes)
        detail = self.detail_field.at(axes)
        csf_ventricle = _ramp(self._ventricles(coords, axes), 0.4)
        csf = torch.maximum(_ramp(-to_csf, 0.3), csf_ventricle)
        inside = _ramp(depth + self.subarachnoid, 0.5)
        ribbon = _ramp(self.cortical_thickness + 0.35 * detail[0] - to_csf, 0.35)
        deep = 0.75 * _ramp(self._deep_grey(coords) + 0.5 * detail[1], 0.6)
        gm = torch.maximum(ribbon, deep) * (1 - csf) * inside
        wm = (1 - csf) * inside - gm
        scalp = _ramp(depth + self.subarachnoid + 12, 0.7) * (
            1 - _ramp(depth + self.subarachnoid + 6, 0.7)
        )
        directions, fractions, maturity = self._fibres(coords, axes, normal)
        return Tissue(csf * inside, gm, wm.clamp_min(0), scalp, directions, fractions, maturity)

    def _distance_to_csf(
        self, depth: torch.Tensor, coords: list[torch.Tensor], axes: Axes
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Distance to sulci, fissure and hull (mm, negative in CSF), and the folds' normal."""
        x, _, z = coords
        fold = self._folds(coords)
        steps = [float(a[1] - a[0]) if len(a) > 1 else 1.0 for a in axes]
        normal = torch.stack(torch.gradient(fold, spacing=steps))
        slope = (normal * normal).sum(0).sqrt()
        sulcus = fold.abs() / slope.clamp_min(0.02) - self.sulcal_width / 2
        sulcus = sulcus + (depth - self.sulcal_depth).clamp_min(0)
        fissure = x.abs() - 0.4 - self.sulcal_width / 3 + (18 - z).clamp_min(0) * 0.8 + 0 * depth
        fissure = fissure + (depth - 30).clamp_min(0)
        return torch.minimum(torch.minimum(sulcus, fissure), depth), _unit(normal, 0)

    def _folds(self, coords: list[torch.Tensor]) -> torch.Tensor:
        """The folds' field (X, Y, Z), which changes ``fold_rate`` times as fast along the way in.

        A point is looked up nearer to the hull than it lies, so what is there goes on below it.
        """
        scale = [c / float(s) for c, s in zip(coords, self.semi_axes, strict=True)]
        radius = (scale[0] ** 2 + scale[1] ** 2 + scale[2] ** 2).sqrt().clamp_min(0.1)
        # beyond the hull nothing is folded
        stretch = torch.where(radius < 1, (1 - self.fold_rate * (1 - radius)) / radius, 1.0)
        points = torch.stack(torch.broadcast_tensors(*coords)) * stretch
        return self.fold_field.at_points(points)[0]

    def _fibres(
        self, coords: list[torch.Tensor], axes: Axes, normal: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Directions (4, 3, ...), fractions (3, ...) and maturity of the white matter."""
        x, y, z = torch.broadcast_tensors(*coords)
        random = self.orientation_field.at(axes).unflatten(0, (3, 3))
        region = self.region_field.at(axes)
        a, b, c = (float(s) for s in self.semi_axes)
        radial = _unit(torch.stack([x / a**2, y / b**2, z / c**2]), 0)
        # commissural fibres run left-right near the midline above the ventricles
        arch = z - 20 + (y / 30) ** 2 * 8
        callosum = torch.exp(-((x / 22) ** 2)) * torch.exp(-((arch / 5) ** 2)) * (y.abs() < 45)
        across = torch.stack([torch.ones_like(x), torch.zeros_like(x), -x / 25])
        along = torch.stack([torch.zeros_like(x), torch.ones_like(x), -y / 60])
        first = radial + self.dispersal * random[0]
        # an association bundle replaces the projection one with a sharp border
        first = torch.where(region[0] > 0.8, along + 0.4 * self.dispersal * random[1], first)
        first = torch.where(callosum > 0.4, across + 0.15 * random[0], first)
        directions = _unit(torch.stack([first, random[1], random[2], normal]), 1)
        logits = self.crossing * 1.5 * region[1:4]
        logits[0] = logits[0] + self.dominance + 6 * callosum
        fractions = torch.softmax(logits, 0)
        maturity = torch.sigmoid(1.5 * (region[3] + 0.5 * region[1]))
        return directions, fractions, maturity
