"""How unlike its training data a scan is, cell by cell: where not to trust a model.

A cell is two voxels along each axis. Its features (diffusivity, anisotropy, what of each order is
noise, all at several scales, and the distance of the 3T latent from its code) are compared with
those of training in two ways. A distance to the nearest of many training cells, once what the
scan's protocol and its other cells lead one to expect is taken out, notices whatever was never
seen. A small network that was shown faults (lesions, voids, empty slices) tells them from
training cells; it is sharper where a fault is of a kind it was shown. Both are smoothed. What
slices lost in single volumes is measured as it is. Each is divided by what a few in a thousand
simulated scans reach somewhere in the brain.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch.nn import functional

from dmri7t.errors import ModelError
from dmri7t.models import inputs
from dmri7t.models.box import Box
from dmri7t.models.bundle import save_weights
from dmri7t.models.plain import from_plain, to_plain
from dmri7t.signal.describe import Description
from dmri7t.signal.gaussian import Averages
from dmri7t.signal.shell import Brain, Shell

FILE = "novelty.safetensors"
"""In a model's folder."""

CELL = 2
"""Voxels of a cell along each axis."""

SCALES_MM = (4.0, 8.0)
"""Standard deviations of the Gaussians over which surroundings are averaged."""

N_PLAIN = 10 + 6 * len(SCALES_MM)
"""Features but for those of the latents."""

SMOOTHING_MM = 3.0
"""Standard deviation of the Gaussian that smooths what is found."""

FLOOR = 10.0
"""Log odds below minus this are all alike: nothing was recognized."""

ALARM_ML = 0.5
"""Connected volume above the threshold from which on an alarm is raised, ml; about a cube of the
smoothing's width. A scan of a healthy volunteer held a spot of half of it. Of 34 whole simulated
heads without a fault no spot was found; of those with a stroke of 7 ml, one was in 33, and in 23
it was as large as this. Smaller spots are named without an alarm."""

KEPT_SPOTS = 3
"""Spots that the record of a scan names."""

LIMIT = 8.0
"""Standard deviations beyond which features are not told apart."""

RESEMBLES = {
    "distance": "",
    "slices": "slices that lost signal in some volumes",
    "low": "low diffusivity",
    "high": "high diffusivity",
    "slab": "empty slices",
    "void": "a signal void",
}
"""What a place looks most like, by the comparison that is highest; empty: like nothing known."""

FOUR_PI = 4 * np.pi

TINY = 1e-5


@attrs.frozen(eq=False)
class Cells:
    """Features of the cells of a scan.

    Parameters
    ----------
    features : Tensor (F, n)
        Of the cells that lie in the brain, at least by half.
    context : Tensor (C,)
        What is known of the scan as a whole.
    loss : Tensor (n,)
        What their slices lost, see :func:`dmri7t.signal.slices.slice_loss`.
    inside : Tensor (x, y, z) bool
        Which cells these are, in the padded box.
    steps : tuple of three floats
        Edges of a cell, mm.
    """

    features: torch.Tensor
    context: torch.Tensor
    loss: torch.Tensor
    inside: torch.Tensor
    steps: tuple[float, float, float]

    def place(self, values: torch.Tensor) -> torch.Tensor:
        """Lay values (..., n) of the cells into the box, zero elsewhere."""
        volume = values.new_zeros(*values.shape[:-1], *self.inside.shape)
        volume[..., self.inside] = values
        return volume

    def smooth(self, values: torch.Tensor, mm: float = SMOOTHING_MM) -> torch.Tensor:
        """Average values (..., n) over neighbouring cells of the brain."""
        return surroundings(self.inside, self.steps, mm)(self.place(values))[..., self.inside]


def surroundings(inside: torch.Tensor, steps: tuple[float, ...], mm: float) -> Averages:
    """Averages over a Gaussian of so many mm, of the inside only."""
    return Averages(inside, [mm / step for step in steps])


def cells_of(shell: Shell, code_distance: torch.Tensor | None = None) -> Cells:
    """Compute the features of a scan's cells.

    Parameters
    ----------
    shell : Shell
    code_distance : Tensor (x, y, z), optional
        Of the 3T latents from their codes, see :meth:`dmri7t.models.translator.Translator.encode`.
    """
    box = Box.around(shell.brain, CELL)
    maps = torch.cat([shell.rish_3V, shell.noise_3V, shell.coherent_9V, shell.loss_V[None]])
    maps = maps.cpu().float()
    ones = torch.ones(1, maps.shape[1])
    pooled = functional.avg_pool3d(box.place(torch.cat([maps, ones]))[None], CELL)[0]
    inside = pooled[-1] >= 0.5
    means = pooled[:-1] / pooled[-1].clamp_min(0.1)
    raw, noise, _, once, thrice, loss = means.split(3)
    x, y, z = (CELL * size for size in shell.description.voxel_sizes)
    steps = (x, y, z)
    features = _local(raw, noise, once, thrice, shell.description.bval)
    features = torch.cat([features, _brightness(noise, inside)[None]])
    base = features[[0, 2, 9]] * inside
    for mm in SCALES_MM:
        average = surroundings(inside, steps, mm)
        mean = average(base)
        variance = average(base.square()) - mean.square()
        features = torch.cat([features, mean, variance.clamp_min(TINY).log() / 2])
    if code_distance is not None:
        distance = _stretch(code_distance.cpu().float(), inside.shape)
        features = torch.cat([features, (distance + 1e-3).log()[None]])
    features = features[:, inside]
    return Cells(features, _context(features, shell.description), loss[0][inside], inside, steps)


def _local(
    raw: torch.Tensor, noise: torch.Tensor, once: torch.Tensor, thrice: torch.Tensor, bval: float
) -> torch.Tensor:
    """Features of each cell by itself, (9, x, y, z), of RISH (3, x, y, z)."""

    def diffusivity(r0: torch.Tensor) -> torch.Tensor:
        md = -(r0.clamp_min(1e-6) / FOUR_PI).sqrt().log() / (bval / 1000)
        return md.clamp(-1, 5)

    def anisotropy(values: torch.Tensor) -> torch.Tensor:
        return (values[1] / values[0].clamp_min(1e-4)).sqrt().clamp_max(3)

    def log_ratio(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return ((one + TINY) / (other + TINY)).log()

    fourth = [
        log_ratio(raw[2], noise[2] + 0.03 * raw[1]),
        log_ratio(once[2], 0.1 * noise[2] + 0.03 * once[1]),
        log_ratio(thrice[2], 0.03 * noise[2] + 0.03 * thrice[1]),
    ]
    if not noise[2].any():  # an order that was not fitted says nothing
        fourth = [torch.zeros_like(raw[2])] * 3
    return torch.stack(
        [
            diffusivity(once[0]),
            diffusivity(thrice[0]),
            anisotropy(once),
            anisotropy(thrice),
            fourth[0],
            log_ratio(raw[1], noise[1] + once[1]),
            log_ratio(raw[0], once[0]),
            *fourth[1:],
        ]
    )


def _brightness(noise: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Logarithm of the b0 over its median: the noise's share goes with its inverse square."""
    b0 = -noise[1].clamp_min(1e-12).log() / 2
    middle = b0[inside].median() if inside.any() else b0.new_zeros(())
    return (b0 - middle).clamp(-3, 3)


def _stretch(latents: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Give every cell the value of the latent that it lies in."""
    for axis, n in enumerate(shape):
        # both boxes begin at the same voxel and are padded behind it
        times = max(1, -(-n // latents.shape[axis]))
        latents = latents.repeat_interleave(times, axis).narrow(axis, 0, n)
    return latents


def _context(features: torch.Tensor, description: Description) -> torch.Tensor:
    """The scan as a whole: its protocol, and how diffusivity and anisotropy are spread in it."""
    numbers = inputs.conditions(description)
    sizes, correlation = numbers[:3], numbers[7:].mean()
    size, thick = sizes.mean(), sizes.max() - sizes.min()
    bval, directions, noise, spread = numbers[3:7]
    plain = [size, thick, bval, directions, noise, spread, correlation]
    products = [size**2, bval**2, noise**2]
    products += [bval * noise, size * noise, bval * size, directions * noise]
    # every cell of a whole brain would be more than quantiles need
    step = max(1, features.shape[1] // 20_000)
    diffusivity, anisotropy = features[1, ::step], features[3, ::step]
    spreads = torch.cat(
        [
            diffusivity.quantile(torch.tensor([0.05, 0.25, 0.5, 0.75])),
            anisotropy.quantile(torch.tensor([0.25, 0.5, 0.9])),
        ]
    )
    return torch.cat([torch.stack([*plain, *products]), spreads, (spreads[1] * spreads[6])[None]])


@attrs.frozen
class Spot:
    """A connected part of the brain that lies above the threshold.

    Parameters
    ----------
    volume_ml : float
    score : float
        Its largest value over the threshold.
    place_mm : tuple of three floats
        Where that is, scanner's coordinates (right, anterior, superior).
    """

    volume_ml: float
    score: float
    place_mm: tuple[float, float, float]


def find_spots(map_V: torch.Tensor, brain: Brain) -> tuple[Spot, ...]:
    """Connected parts of a map (V,) above 1, the largest first."""
    from scipy.ndimage import generate_binary_structure, label, maximum_position

    if not bool((map_V > 1).any()):
        return ()
    volume_XYZ = brain.place(map_V[None])[0].numpy()
    labels, n = label(volume_XYZ > 1, generate_binary_structure(3, 3))
    voxels = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    # of the few voxels above 1 alone: all of an image would be sorted
    above = np.flatnonzero(labels)
    ranks = maximum_position(volume_XYZ.ravel()[above], labels.ravel()[above], range(1, n + 1))
    places = np.unravel_index(above[np.ravel(ranks)], volume_XYZ.shape)
    voxel_ml = float(np.prod(brain.voxel_sizes)) / 1000
    spots = []
    for count, place in zip(voxels, np.stack(places, 1), strict=True):
        x, y, z = brain.grid.affine[:3, :3] @ place + brain.grid.affine[:3, 3]
        where = (round(float(x), 1), round(float(y), 1), round(float(z), 1))
        spots.append(Spot(float(count) * voxel_ml, float(volume_XYZ[tuple(place)]), where))
    return tuple(sorted(spots, key=lambda spot: -spot.volume_ml))


@attrs.frozen(eq=False)
class Compared:
    """What the comparison of a shell with the training data found.

    Parameters
    ----------
    map_V : Tensor (V,)
        Distance over the threshold, voxel by voxel of the mask.
    score : float
        The largest of the map; above 1, the scan is not like those of training.
    volume_ml : float
        Volume of the brain that lies above 1.
    resembles : str
        What the place of the largest looks most like, of :data:`RESEMBLES`; empty where nothing
        is above 1.
    spots : tuple of Spot
        Where the brain lies above 1, the largest part first.
    """

    map_V: torch.Tensor
    score: float
    volume_ml: float
    resembles: str = ""
    spots: tuple[Spot, ...] = ()

    @property
    def flagged(self) -> bool:
        """Whether fewer than one simulated scan in a hundred would hold so large a spot."""
        return any(spot.volume_ml >= ALARM_ML for spot in self.spots)

    def record(self) -> dict[str, Any]:
        """Plain values, for files; of the spots the largest few."""
        return {
            "score": self.score,
            "volume_ml": self.volume_ml,
            "flagged": self.flagged,
            "resembles": self.resembles,
            "alarm_ml": ALARM_ML,
            "spots": [attrs.asdict(spot) for spot in self.spots[:KEPT_SPOTS]],
        }


@attrs.frozen(kw_only=True)
class Threshold:
    """What the largest value of a simulated scan seldom exceeds.

    Parameters
    ----------
    location, scale : float
        Of the Gumbel distribution of the largest value.
    growth : float
        Of the location with the logarithm of the number of cells.
    cells : float
        Number for which the location holds.
    level : float
        Of false alarms.
    """

    location: float
    scale: float
    growth: float
    cells: float
    level: float

    def of(self, n_cells: int) -> float:
        """What the largest of so many values exceeds at the level of false alarms."""
        # the largest of k times as many values of one scan lies log(k) times its growth higher
        further = self.growth * np.log(max(n_cells, 1) / self.cells)
        alarm = -np.log(-np.log(1 - self.level))
        return float(self.location + self.scale * alarm + further)


@attrs.frozen(eq=False)
class Novelty:
    """What a model remembers of its training data, to compare scans with.

    Parameters
    ----------
    tensors : dict of Tensor
        Of the distance: ``expected`` and ``log_spread`` (F, 1 + C), ``whitening`` (F, F) and
        ``training_cells`` (K, F). Of the recognizer: ``input_mean`` and ``input_sd`` (F + C,),
        and ``weight0``, ``bias0`` and so on, whose last have a row for each kind of fault.
        ``context_mean`` and ``context_sd`` (C,) of both.
    thresholds : dict of Threshold
        For distance, loss of slices and each kind of fault, by the names and in the order of
        :data:`RESEMBLES`.
    """

    tensors: dict[str, torch.Tensor]
    thresholds: dict[str, Threshold]

    @classmethod
    def load(cls, folder: str | Path) -> Novelty | None:
        """Read it from a model's folder; None where the model has none.

        Raises
        ------
        ModelError
            If it was fitted by a version with other features or ways of comparing.
        """
        from safetensors import safe_open

        path = Path(folder) / FILE
        if not path.is_file():
            return None
        with safe_open(str(path), framework="pt") as file:
            rows = json.loads(file.metadata()["thresholds"])
            # not keys() of a dict: the file's own list of names
            names = list(file.keys())  # noqa: SIM118
            tensors = {name: file.get_tensor(name) for name in names}
        try:
            thresholds = {name: from_plain(Threshold, row, name) for name, row in rows.items()}
            if len(tensors["expected"]) not in (N_PLAIN, N_PLAIN + 1):
                raise ValueError("other features")
            if tuple(thresholds) != tuple(RESEMBLES):
                raise ValueError("other comparisons")
        except ValueError as error:
            raise ModelError(
                f"{path}: fitted by another version of dmri7t, which compared otherwise ({error}); "
                f"run: dmri7t-model calibrate {folder} --subjects 0 --share-subjects 0."
            ) from error
        return cls(tensors, thresholds)

    def save(self, folder: str | Path) -> None:
        """Write it into a model's folder; the bundle has to be written anew after that."""
        held = {name: tensor.float() for name, tensor in self.tensors.items()}
        save_weights(
            Path(folder) / FILE, held, {"thresholds": json.dumps(to_plain(self.thresholds))}
        )

    @property
    def uses_codes(self) -> bool:
        """Whether the distance of latents from their codes is among the features."""
        return len(self.tensors["expected"]) > N_PLAIN

    def distance(self, cells: Cells) -> torch.Tensor:
        """Smoothed distance (n,) of every cell from the nearest training cell."""
        t = self.tensors
        whitened = whiten(cells.features, cells.context, t)
        nearest = [nearest_distance(x, t["training_cells"]) for x in whitened.split(16384)]
        return cells.smooth(torch.cat(nearest))

    def odds(self, cells: Cells) -> torch.Tensor:
        """Smoothed log odds (K, n) of each kind of fault, plus :data:`FLOOR`, none below zero."""
        t = self.tensors
        context = cells.context[:, None].expand(-1, cells.features.shape[1])
        seen = torch.cat([cells.features, context]).T
        answer = ((seen - t["input_mean"]) / t["input_sd"]).clamp(-LIMIT, LIMIT)
        for layer in range(sum(name.startswith("weight") for name in t)):
            answer = functional.linear(
                answer.relu() if layer else answer, t[f"weight{layer}"], t[f"bias{layer}"]
            )
        return cells.smooth((answer.T + FLOOR).clamp_min(0))

    def values(self, cells: Cells) -> torch.Tensor:
        """Distance, loss of slices and odds, (2 + K, n), in the order of the thresholds."""
        return torch.cat([self.distance(cells)[None], cells.loss[None], self.odds(cells)])

    def over_thresholds(self, cells: Cells) -> torch.Tensor:
        """The values (2 + K, n), each over its threshold."""
        n = cells.features.shape[1]
        limits = torch.tensor([self.threshold(name, n) for name in self.thresholds])
        return self.values(cells) / limits[:, None]

    def threshold(self, name: str, n_cells: int) -> float:
        """What the largest of ``n_cells`` values exceeds at the level of false alarms."""
        return self.thresholds[name].of(n_cells)

    def compare(self, shell: Shell, code_distance: torch.Tensor | None = None) -> Compared:
        """Compare a shell with the training data; inputs as of :func:`cells_of`."""
        cells = cells_of(shell, code_distance if self.uses_codes else None)
        if not cells.inside.any():
            return Compared(torch.zeros(shell.brain.n_voxels), 0.0, 0.0)
        worst, kinds = self.over_thresholds(cells).max(0)
        name = list(self.thresholds)[int(kinds[worst.argmax()])]
        kind = RESEMBLES[name] if worst.max() > 1 else ""
        # voxels of cells that are mostly outside take the value of the nearest one inside
        volume = _spread_out(cells.place(worst), cells.inside)
        for axis in range(3):
            volume = volume.repeat_interleave(CELL, axis)
        map_V = Box.around(shell.brain, CELL).pick(volume)
        voxel_ml = float(np.prod(shell.description.voxel_sizes)) / 1000
        above_ml = float((map_V > 1).sum()) * voxel_ml
        spots = find_spots(map_V, shell.brain)
        return Compared(map_V, float(worst.max()), above_ml, kind, spots)


def _spread_out(values: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~inside.numpy(), return_distances=False, return_indices=True)
    return values[tuple(torch.from_numpy(nearest.astype(np.int64)))]


def whiten(
    features: torch.Tensor, context: torch.Tensor, tensors: dict[str, torch.Tensor]
) -> torch.Tensor:
    """Features (n, F) beyond what the scan leads one to expect, uncorrelated, of unit size.

    Parameters
    ----------
    features : Tensor (F, n)
    context : Tensor (C,) or (C, n)
    tensors : dict
        See :class:`Novelty`.
    """
    if context.ndim == 1:
        context = context[:, None]
    standard = (context - tensors["context_mean"][:, None]) / tensors["context_sd"][:, None]
    scan = torch.cat([torch.ones_like(standard[:1]), standard.clamp(-LIMIT, LIMIT)])
    spread = (tensors["log_spread"] @ scan).exp()
    standard = ((features - tensors["expected"] @ scan) / spread).clamp(-LIMIT, LIMIT)
    return standard.T @ tensors["whitening"]


def nearest_distance(cells: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Euclidean distance (n,) of cells (n, F) from the nearest of others (K, F)."""
    # one product of matrices: four times faster than the differences themselves
    product = torch.addmm(others.square().sum(1)[None], cells, others.T, alpha=-2)
    return (product.min(1).values + cells.square().sum(1)).clamp_min(0).sqrt()
