"""Networks over an image that does not fit into memory: overlapping tiles, equal to the whole.

No network here normalises over the image, so a voxel's answer depends on its surroundings only
up to the reach of the convolutions. A tile that is run with a margin of that reach, and cut back
to its core, has the answer of the whole; only rounding differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from types import EllipsisType

import torch

EDGE = 48
"""Edge of a tile's core in voxels of the image where little memory is asked for."""

EDGES = (128, 96, 64, 48, 32, 16)
"""Edges that are tried one after another when a device is out of memory."""


class Tiler:
    """Run a network over the whole image, or in tiles where that is asked for or needed.

    Parameters
    ----------
    edge : int, optional
        Edge of a tile's core, voxels of the image; None: the whole, unless memory runs out.
        Then smaller and smaller tiles are tried, and kept for what follows.
    """

    def __init__(self, edge: int | None = None) -> None:
        self.edge = edge

    def __call__(
        self,
        network: Callable[[torch.Tensor], torch.Tensor],
        x: torch.Tensor,
        reach: tuple[int, int],
        per_voxel: float = 1.0,
    ) -> torch.Tensor:
        """Apply a network.

        Parameters
        ----------
        network : callable
            Takes and gives a tensor (B, C, X, Y, Z); the answer may be on a finer or a coarser
            grid.
        x : Tensor (B, C, X, Y, Z)
            Its input.
        reach : tuple of int
            Of :class:`dmri7t.models.networks.Network`, in voxels of ``x``.
        per_voxel : float
            Voxels of ``x`` per voxel of the image and axis.

        Raises
        ------
        torch.OutOfMemoryError
            If the smallest tiles do not fit either.
        """
        if torch.is_grad_enabled():
            # in training: patches are small, and what is needed backwards cannot be cut
            return network(x)
        while True:
            try:
                if self.edge is None:
                    return network(x)
                return _in_tiles(network, x, max(1, round(self.edge * per_voxel)), *reach)
            except torch.OutOfMemoryError:
                self._shrink(x, per_voxel)

    def _shrink(self, x: torch.Tensor, per_voxel: float) -> None:
        """Go to the next smaller tiles; raises the error again when there are none."""
        now = self.edge or max(x.shape[2:]) / per_voxel
        smaller = [edge for edge in EDGES if edge < now]
        if not smaller:
            raise
        self.edge = smaller[0]
        if x.is_cuda:
            torch.cuda.empty_cache()


def _in_tiles(
    network: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    edge: int,
    reach: int,
    multiple: int,
) -> torch.Tensor:
    """Run every tile with its margin, and put the cores together."""
    edge, margin = (-(-n // multiple) * multiple for n in (edge, reach))
    whole = None
    for core in product(*(list(_pieces(n, edge, margin)) for n in x.shape[2:])):
        wide = [
            (max(0, a - margin), min(n, b + margin))
            for (a, b), n in zip(core, x.shape[2:], strict=True)
        ]
        answer = network(x[_index(wide)])
        ratio = answer.shape[2] / (wide[0][1] - wide[0][0])
        if whole is None:
            shape = [round(n * ratio) for n in x.shape[2:]]
            whole = answer.new_empty(*answer.shape[:2], *shape)
        put = [(round(a * ratio), round(b * ratio)) for a, b in core]
        take = [
            (round((a - start) * ratio), round((b - start) * ratio))
            for (a, b), (start, _) in zip(core, wide, strict=True)
        ]
        whole[_index(put)] = answer[_index(take)]
    assert whole is not None, "an image without voxels"
    return whole


def _index(spans: Iterable[tuple[int, int]]) -> tuple[EllipsisType | slice, ...]:
    """Index of a part, by where it starts and stops along each of the last axes."""
    return (..., *(slice(*span) for span in spans))


def _pieces(length: int, edge: int, margin: int) -> Iterator[tuple[int, int]]:
    """Cut an axis into pieces of an edge; the last may be shorter.

    An axis that a piece with its margins spans is not cut: it would be computed again and again.
    """
    if length <= edge + 2 * margin:
        edge = length
    return ((start, min(start + edge, length)) for start in range(0, length, edge))
