"""The folder of a training: what is made once, and shared by the processes that train together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmri7t.files import whole_file, write_whole
from dmri7t.progress import Progress
from dmri7t.training.data import Item, derive_seed
from dmri7t.training.team import Team

PREPARED, CONCLUDED = "prepared", "concluded"
"""Folders of a stage: made before its training, of earlier stages; or after it, of itself."""


class WorkFolder:
    """Files of a training that its stages make for each other.

    Parameters
    ----------
    folder : Path
        Made if there is none.
    team : Team
        Each process makes its share.
    seed : int
        Of the training.
    """

    def __init__(self, folder: Path, team: Team, seed: int) -> None:
        self.folder, self.team, self.seed = folder, team, seed
        folder.mkdir(parents=True, exist_ok=True)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Plain values that the first process makes, once and for all, and keeps as JSON.

        Parameters
        ----------
        name : str
            Of the file, within the folder.
        make : callable
        """
        if not self.team.leads:
            return self.team.broadcast(None)
        path = self.folder / name
        if not path.exists():
            write_whole(path, json.dumps(make()) + "\n")
        return self.team.broadcast(json.loads(path.read_text()))

    @torch.no_grad()
    def add_images(
        self,
        folder: str,
        name: str,
        items: Sequence[Item],
        make: Callable[[Item], torch.Tensor],
    ) -> None:
        """Make an image of every item, each process its share; those that are there are kept.

        Parameters
        ----------
        folder : str
            Where they are kept, within this folder.
        name : str
            By which items hold them.
        items : sequence of Item
        make : callable
            Gives (1, 3, X, Y, Z); random numbers are seeded for each item.
        """
        paths = [self.folder / folder / f"{i:06d}.npy" for i in range(len(items))]
        mine = self.team.share(range(len(items)))
        progress = Progress(folder, len(mine))
        for number, i in enumerate(mine):
            if self.team.leads:
                progress.show(number, f"image {number} of {len(mine)}", passing=number % 100 > 0)
            if not paths[i].exists():
                torch.manual_seed(derive_seed(self.seed, folder, i))
                image = make(items[i])[0].cpu().numpy().astype(np.float16)
                with whole_file(paths[i]) as part:
                    np.save(part, image)
        if self.team.leads:
            progress.show(len(mine), f"{len(mine)} images")
        self.team.wait()
        for item, path in zip(items, paths, strict=True):
            item.images[name] = path

    def forget(self, stage: str, later: Sequence[str]) -> None:
        """Remove what was made with a stage's network, and with those of later stages."""
        if self.team.leads:
            shutil.rmtree(self.folder / stage / CONCLUDED, ignore_errors=True)
            for name, when in product(later, (PREPARED, CONCLUDED)):
                shutil.rmtree(self.folder / name / when, ignore_errors=True)
        self.team.wait()
