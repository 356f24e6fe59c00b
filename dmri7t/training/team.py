"""The processes that train together, one a device, started by Lightning or by SLURM."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

import attrs
import torch

from dmri7t.errors import DeviceError

if TYPE_CHECKING:  # seconds to load: only what trains waits for it
    from lightning.fabric import Fabric

PATIENCE = timedelta(hours=2)
"""Longest time that processes wait for each other, as when one cuts a larger share of scans."""

T = TypeVar("T")


# what is said of every process that joins
logging.getLogger("lightning.fabric").setLevel(logging.WARNING)


def _alone() -> Fabric:
    from lightning.fabric import Fabric

    return Fabric(accelerator="cpu", devices=1)


@attrs.frozen(eq=False)
class Team:
    """One process among those that train together.

    Parameters
    ----------
    devices, nodes : int
        Processes a machine, and machines.
    rank : int
        Of this process, from 0.
    fabric : Fabric
        What connects the processes and knows this one's device.
    """

    devices: int = 1
    nodes: int = 1
    rank: int = 0
    fabric: Fabric = attrs.field(factory=_alone)

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.devices * self.nodes

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes what all share."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Of this process, such as cuda:1."""
        return self.fabric.device

    def share(self, things: Sequence[T]) -> Sequence[T]:
        """Return what falls to this process of some work."""
        return things[self.rank :: self.size]

    def wait(self) -> None:
        """Go on when all processes have come here."""
        self.fabric.barrier()

    def broadcast(self, value: T) -> T:
        """Give all processes what the first one has."""
        return self.fabric.broadcast(value)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Add up what all processes have."""
        return cast(torch.Tensor, self.fabric.all_reduce(values, reduce_op="sum"))

    def mean(self, values: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """Average scalars over the processes, by their name."""
        means = cast(dict[str, torch.Tensor], self.fabric.all_reduce(dict(values)))
        return {name: float(value) for name, value in means.items()}


def assemble(accelerator: str | None = None, devices: int = 1, nodes: int = 1) -> Team:
    """Start the other processes, or join them.

    Without SLURM or torchrun the others of this machine run the same command.

    Parameters
    ----------
    accelerator : {"cpu", "cuda"}, optional
        None: cuda where torch sees it.
    devices, nodes : int

    Raises
    ------
    DeviceError
        If there are fewer devices.
    """
    from lightning.fabric import Fabric
    from lightning.fabric.strategies import DDPStrategy

    seen = torch.cuda.device_count()
    accelerator = accelerator or ("cuda" if seen else "cpu")
    if accelerator == "cuda" and devices > seen:
        raise DeviceError(
            f"--devices {devices}: torch sees {seen} CUDA devices here; ask for as many as there "
            "are, or for --accelerator cpu."
        )
    if devices < 1 or nodes < 1:
        raise DeviceError("--devices and --num-nodes: at least one of each is needed.")
    several = devices * nodes > 1
    fabric = Fabric(
        accelerator=accelerator,
        strategy=DDPStrategy(timeout=PATIENCE) if several else "auto",
        devices=devices,
        num_nodes=nodes,
    )
    fabric.launch()
    return Team(devices, nodes, fabric.global_rank, fabric)


def default_threads(team: Team) -> int:
    """Threads of torch for each process, so that all together use what is allowed."""
    allowed = len(os.sched_getaffinity(0))
    return max(1, allowed // team.devices)
