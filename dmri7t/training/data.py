"""Batches of examples, mirrored and turned at random.

What is drawn hangs on the seed and the position only: a training that was killed can go on as if it
had not been.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from dmri7t.errors import InputError
from dmri7t.models import inputs
from dmri7t.models.config import N_ORDERS
from dmri7t.models.fitted import ScansRecord, SplitRecord
from dmri7t.models.plain import to_plain
from dmri7t.signal.resample import apply_axes, spline_matrix
from dmri7t.training.example import TrainingExample

Batch = dict[str, torch.Tensor]
"""Tensors of several examples by their name, see :class:`Patches`."""


def derive_seed(*parts: str | int) -> int:
    """Seed of one of many streams of random numbers, such as that of a stage's step.

    Examples
    --------
    >>> derive_seed(0, "mean", 1) == derive_seed(0, "mean", 1) != derive_seed(0, "mean", 2)
    True
    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@attrs.frozen(eq=False)
class Item:
    """An example and the images that stages made of it.

    Parameters
    ----------
    source : TrainingExample or Path
        A path is read whenever the example is asked for.
    images : dict of Path
        Scaled roots, float16 (3, X, Y, Z): mean, the regression's answer; generated, what the
        trained stages made of it.
    """

    source: TrainingExample | Path
    images: dict[str, Path] = attrs.field(factory=dict)

    @property
    def example(self) -> TrainingExample:
        """The example itself."""
        return TrainingExample.load(self.source) if isinstance(self.source, Path) else self.source


def _items(sources: Iterable[TrainingExample | Path | Item]) -> list[Item]:
    return [source if isinstance(source, Item) else Item(source) for source in sources]


@attrs.frozen(eq=False)
class TrainingData:
    """What a model learns from and is watched on, and where that comes from.

    Parameters
    ----------
    training, validation : list of Item
        Given as examples or their files; those are read as needed.
    source : str
        What the examples are, for the model's record: "simulated pairs" or the name of a data set.
    split : SplitRecord, optional
        Which subjects the examples come from; None: simulated ones, who are nobody.
    unpaired : list of Item
        3T examples without a target, for the 3T VQ-VAE.
    scans : ScansRecord, optional
        Where single 3T scans are learned from: their targets are noisy, and teach a regression
        alone.
    """

    training: list[Item] = attrs.field(converter=_items)
    validation: list[Item] = attrs.field(converter=_items)
    source: str
    split: SplitRecord | None = None
    unpaired: list[Item] = attrs.field(converter=_items, factory=list)
    scans: ScansRecord | None = None

    @property
    def subjects(self) -> tuple[str, ...]:
        """Who took part: evaluation refuses to test on them."""
        if self.split is None:
            return ()
        learned = {*self.split.training, *self.split.validation, *self.split.unpaired}
        return tuple(sorted(learned))

    def with_unpaired(self, paths: Sequence[Path], subjects: Sequence[str]) -> TrainingData:
        """The same pairs, and 3T examples of further subjects."""
        split = self.split or SplitRecord(training=(), validation=())
        split = attrs.evolve(split, unpaired=tuple(subjects))
        return attrs.evolve(self, unpaired=paths, split=split)

    def identity(self) -> dict[str, Any]:
        """What tells this data from others, as plain values."""
        return {
            "source": self.source,
            "examples": [len(self.training), len(self.validation), len(self.unpaired)],
            "split": to_plain(self.split),
        }


def root_scale(items: Sequence[Item]) -> list[float]:
    """Standard deviation, in the masks, of the root of each order of the target's RISH."""
    count, total, squares = np.zeros(3), np.zeros(3), np.zeros(3)
    for item in items:
        example = item.example
        shown = slice(int(example.orders))
        values = example.target[shown, example.mask].astype(np.float64).clip(0)
        count[shown] += values.shape[1]
        total[shown] += values.sum(1)
        squares[shown] += np.square(values).sum(1)
    if not count.all():
        raise InputError(
            "training data: no target shows R4, which takes 15 directions; start from a model "
            "(--start), or mix simulated blocks in (simulated_part in the recipe)."
        )
    spread = np.sqrt(np.maximum(squares / count - np.square(total / count), 0))
    return [float(s) for s in spread]


@attrs.frozen
class Turning:
    """A way to mirror an example and to swap its axes; as it is made, as the example lies.

    Parameters
    ----------
    axes : tuple of int
        Which axes become the first, second and third.
    flips : tuple of int
        Axes, as they then are, that are mirrored.
    """

    axes: tuple[int, ...] = (0, 1, 2)
    flips: tuple[int, ...] = ()

    @classmethod
    def draw(cls, generator: torch.Generator) -> Turning:
        """One of the 48 ways at random."""
        flips = torch.rand(3, generator=generator) < 0.5
        axes = torch.randperm(3, generator=generator).tolist()
        return cls(tuple(axes), tuple(a for a in range(3) if flips[a]))

    def __call__(self, array: np.ndarray) -> torch.Tensor:
        """Turn an array (C, X, Y, Z), as float32."""
        volume = torch.from_numpy(np.ascontiguousarray(array)).float()
        return volume.permute(0, *(a + 1 for a in self.axes)).flip([f + 1 for f in self.flips])


class Patches(Dataset[Batch]):
    """Examples as float32 tensors, as they lie.

    Parameters
    ----------
    items : list of Item
    scale : three floats
        See :func:`root_scale`.
    fine : int
        Edge of the crop of the 7T grid for super-resolution; 0 leaves that part out.
    paired : bool
        Whether to give what comes from the 7T scan, which unpaired examples lack.
    """

    def __init__(
        self, items: Sequence[Item], scale: Sequence[float], fine: int = 0, paired: bool = True
    ) -> None:
        self.items = items
        self.scale = torch.tensor(scale)
        self.fine = fine
        self.paired = paired

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Batch:
        return self.draw(index)

    def draw(self, index: int, generator: torch.Generator | None = None) -> Batch:
        """Give an example; a generator mirrors it and swaps its axes, and chooses the crop.

        Returns
        -------
        dict of Tensor
            Roots in units of ``scale``; without the batch's axis. stack (19, X, Y, Z) and
            conditions (10,), see :mod:`dmri7t.models.inputs`; paired: target (3, X, Y, Z),
            shown (3,), 1 for orders that it shows, measured (), 1 if it has noise, and
            mean (3, X, Y, Z) where a regression was trained before; fine: fine_root, fine_noise
            and fine_target (3, F, F, F), fine_mask (1, F, F, F), and ratio (), 7T over 3T voxel
            size.
        """
        item = self.items[index]
        example = item.example
        turning = Turning() if generator is None else Turning.draw(generator)
        unit = self.scale.view(3, 1, 1, 1)
        mask = turning(example.mask[None])
        out = {
            "stack": inputs.features(
                turning(example.rish).square(),
                turning(example.noise).square(),
                turning(example.coherent).square(),
                mask,
                self.scale,
            ),
            "conditions": inputs.conditions(example.description.turned(turning.axes)),
        }
        if self.paired:
            out["target"] = turning(example.target) / unit * mask
            out["shown"] = (torch.arange(N_ORDERS) < int(example.orders)).float()
            out["measured"] = torch.tensor(float(example.measured))
            if "mean" in item.images:
                out["mean"] = turning(np.load(item.images["mean"]))
        if self.fine:
            generated = turning(np.load(item.images["generated"]))
            out |= self._fine(example, generated, turning, generator)
        return out

    def _fine(
        self,
        example: TrainingExample,
        generated: torch.Tensor,
        turning: Turning,
        generator: torch.Generator | None,
    ) -> Batch:
        """Up-sampled generated root, noise and the 7T target, cropped to ``fine`` voxels."""
        unit = self.scale.view(3, 1, 1, 1)
        target = turning(example.target_high) / unit
        inside = turning(example.mask_high[None])
        # examples are cubes
        n, m = len(example.mask), len(example.mask_high)
        ratio = float(example.ratio)
        size = min(self.fine, m)
        corner = [(m - size) // 2] * 3
        if generator is not None:
            corner = torch.randint(m - size + 1, (3,), generator=generator).tolist()
        crop = (slice(None), *(slice(c, c + size) for c in corner))
        matrices = [
            spline_matrix(n, (np.arange(m) - (m - 1) / 2) * ratio + (n - 1) / 2)[c : c + size]
            for c in corner
        ]
        noise = turning(example.noise) / unit
        fine = apply_axes(torch.cat([generated, noise]), matrices).clamp_min(0)
        return {
            "fine_root": fine[:3],
            "fine_noise": fine[3:],
            "fine_mask": inside[crop],
            "fine_target": target[crop] * inside[crop],
            "ratio": torch.tensor(ratio, dtype=torch.float64),
        }


class Stream(Dataset[Batch]):
    """An endless row of turned examples, all of them once in every epoch.

    Parameters
    ----------
    patches : Patches
    seed : int
        What lies at a position hangs on it and on the position only.
    """

    def __init__(self, patches: Patches, seed: int) -> None:
        self.patches = patches
        self.seed = seed
        self._order: tuple[int, list[int]] = (-1, [])

    def example_at(self, position: int) -> int:
        """Which example lies at a position."""
        epoch, within = divmod(position, len(self.patches))
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
            order = torch.randperm(len(self.patches), generator=generator).tolist()
            self._order = (epoch, order)
        return self._order[1][within]

    def __getitem__(self, position: int) -> Batch:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "turn", position))
        return self.patches.draw(self.example_at(position), generator)


class Positions(Sampler[list[int]]):
    """Positions in a :class:`Stream` that make the batches of one process.

    Parameters
    ----------
    steps, batch : int
    rank, size : int
        Of this process among those that train together; each takes its batch of every step.
    start : int
        Step to begin with.
    """

    def __init__(
        self, steps: int, batch: int, rank: int = 0, size: int = 1, start: int = 0
    ) -> None:
        self.steps, self.batch, self.rank, self.size = steps, batch, rank, size
        self.start = start

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.steps):
            first = (step * self.size + self.rank) * self.batch
            yield list(range(first, first + self.batch))

    def __len__(self) -> int:
        return self.steps - self.start
