"""The processes that train together, one a device, started by Lightning or by SLURM."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

import attrs
import torch

from dmri7t.errors import DeviceError

PATIENCE = timedelta(hours=2)
"""Longest time that processes wait for each other, as when one cuts a larger share of scans."""

T = TypeVar("T")


@attrs.frozen(eq=False)
class Team:
    """One process among those that train together.

    Parameters
    ----------
    accelerator : {"cpu", "cuda"}
    devices, nodes : int
        Processes a machine, and machines.
    rank : int
        Of this process, from 0.
    device : str
        Of this process, such as "cuda:1".
    fabric : Fabric, optional
        What connects the processes; None where there is one.
    """

    accelerator: str = "cpu"
    devices: int = 1
    nodes: int = 1
    rank: int = 0
    device: str = "cpu"
    fabric: Any = None

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.devices * self.nodes

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes what all share."""
        return self.rank == 0

    def share(self, things: Sequence[T]) -> Sequence[T]:
        """Return what falls to this process of some work."""
        return things[self.rank :: self.size]

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.fabric is not None:
            self.fabric.barrier()

    def tell(self, value: T) -> T:
        """Give all processes what the first one has."""
        return value if self.fabric is None else self.fabric.broadcast(value)

    def trainer_settings(self) -> dict[str, Any]:
        """Arguments of Lightning's Trainer."""
        return {
            "accelerator": self.accelerator,
            "devices": self.devices,
            "num_nodes": self.nodes,
            "strategy": _strategy("pytorch") if self.size > 1 else "auto",
            "use_distributed_sampler": False,
        }


def _strategy(library: str) -> Any:
    """Lightning's plan for several processes, of its Trainer or of its Fabric."""
    if library == "pytorch":
        from lightning.pytorch.strategies import DDPStrategy
    else:
        from lightning.fabric.strategies import DDPStrategy
    return DDPStrategy(timeout=PATIENCE)


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
    seen = torch.cuda.device_count()
    accelerator = accelerator or ("cuda" if seen else "cpu")
    if accelerator == "cuda" and devices > seen:
        raise DeviceError(
            f"--devices {devices}: torch sees {seen} CUDA devices here; ask for as many as there "
            "are, or for --accelerator cpu."
        )
    if devices < 1 or nodes < 1:
        raise DeviceError("--devices and --num-nodes: at least one of each is needed.")
    if devices * nodes == 1:
        return Team(accelerator, device=accelerator)
    from lightning.fabric import Fabric

    fabric = Fabric(
        accelerator=accelerator, strategy=_strategy("fabric"), devices=devices, num_nodes=nodes
    )
    fabric.launch()
    return Team(accelerator, devices, nodes, fabric.global_rank, str(fabric.device), fabric)


def default_threads(team: Team) -> int:
    """Threads of torch for each process, so that all together use what is allowed."""
    allowed = len(os.sched_getaffinity(0))
    return max(1, allowed // team.devices)
