"""Convolutions in bfloat16 where the device has them in hardware."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def fast_cpu() -> bool:
    """Whether this processor multiplies bfloat16 itself."""
    capability = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(capability and capability())


def cast(network: Callable[..., torch.Tensor], autocast: Any) -> Callable[..., torch.Tensor]:
    """Run a network under autocast and give its answer as float32."""

    def call(x: torch.Tensor, **kwargs: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last_3d)
        with autocast():
            return network(x, **kwargs).float()

    return call
