"""Batches of examples, mirrored and turned at random."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from torch.utils.data import Dataset

from dmri7t.models import inputs
from dmri7t.signal.resample import apply_axes, spline_matrix
from dmri7t.training.pool import Example


@attrs.define(eq=False)
class Item:
    """An example and what earlier stages made of it.

    Parameters
    ----------
    example : Example
    mean : ndarray (3, X, Y, Z) float16, optional
        The regression mean as scaled roots.
    generated : ndarray (3, X, Y, Z) float16, optional
        What the diffusion stage generated, as scaled roots.
    """

    example: Example
    mean: np.ndarray | None = None
    generated: np.ndarray | None = None


def root_scale(examples: list[Example]) -> list[float]:
    """Standard deviation, in the masks, of the root of each order of the 7T RISH."""
    values = [e.target[:, e.mask].astype(np.float32) for e in examples]
    return [float(s) for s in np.concatenate(values, 1).std(1)]


class Patches(Dataset):
    """Examples as float32 tensors, turned by a random axis permutation and mirrored.

    Parameters
    ----------
    items : list of Item
    scale : list of 3 floats
        See :func:`root_scale`.
    turn : bool
        Whether to turn and mirror.
    fine : int
        Edge of the crop of the 7T grid for super-resolution; 0 leaves that part out.
    """

    def __init__(
        self, items: list[Item], scale: list[float], turn: bool = True, fine: int = 0
    ) -> None:
        self.items = items
        self.scale = torch.tensor(scale)
        self.turn = turn
        self.fine = fine

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item, example = self.items[index], self.items[index].example
        axes, flips = self._draw_turn()

        def load(array: np.ndarray) -> torch.Tensor:
            volume = torch.from_numpy(np.ascontiguousarray(array)).float()
            return volume.permute(0, *(a + 1 for a in axes)).flip([f + 1 for f in flips])

        mask = load(example.mask[None])
        out = {
            "stack": inputs.features(
                load(example.rish).square(),
                load(example.noise).square(),
                load(example.coherent).square(),
                mask,
                self.scale,
            ),
            "target": load(example.target) / self.scale.view(3, 1, 1, 1) * mask,
            "conditions": inputs.conditions(example.describe(list(axes))),
        }
        if item.mean is not None:
            out["mean"] = load(item.mean)
        if self.fine:
            out |= self._fine(item, load, mask)
        return out

    def _draw_turn(self) -> tuple[list[int], list[int]]:
        if not self.turn:
            return [0, 1, 2], []
        flips = torch.rand(3) < 0.5
        return torch.randperm(3).tolist(), [a for a in range(3) if flips[a]]

    def _fine(self, item: Item, load: Any, mask: torch.Tensor) -> dict[str, Any]:
        """Up-sampled generated root, noise and the 7T target, cropped to ``fine`` voxels."""
        example = item.example
        target = load(example.target_high) / self.scale.view(3, 1, 1, 1)
        inside = load(example.mask_high[None])
        n, m = mask.shape[-1], target.shape[-1]
        ratio = float(example.ratio)
        size = min(self.fine, m)
        middle = torch.full((3,), (m - size) // 2)
        corner = (torch.randint(m - size + 1, (3,)) if self.turn else middle).tolist()
        crop = (slice(None), *(slice(c, c + size) for c in corner))
        matrices = [
            spline_matrix(n, (np.arange(m) - (m - 1) / 2) * ratio + (n - 1) / 2)[c : c + size]
            for c in corner
        ]
        noise = load(example.noise) / self.scale.view(3, 1, 1, 1)
        seen = torch.cat([load(item.generated), noise])
        fine = apply_axes(seen, matrices).clamp_min(0)
        return {
            "fine_root": fine[:3],
            "fine_noise": fine[3:],
            "fine_mask": inside[crop],
            "fine_target": target[crop] * inside[crop],
            "ratio": ratio,
        }
