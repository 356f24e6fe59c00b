"""The computing device, chosen before anything runs."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

from dmri7t.errors import DeviceError

QUESTION = "import torch, sys; sys.exit(0 if torch.cuda.is_available() else 3)"

SECONDS = 120
"""Longest time that torch is given to look for a device."""


def resolve_device(asked: str) -> str:
    """Choose cpu or cuda; another process looks, since this one never loads torch.

    Raises
    ------
    DeviceError
        If cuda was asked for and is not there.
    """
    if asked == "cpu":
        return "cpu"
    usable = _has_driver() and _torch_sees_cuda()
    if asked == "cuda" and not usable:
        raise DeviceError(
            "--device cuda: torch sees no CUDA device here; run on a machine with a GPU and a CUDA "
            "build of torch, or use --device cpu."
        )
    return "cuda" if usable else "cpu"


def _has_driver() -> bool:
    """Whether the driver of a GPU is installed; if not, torch need not be loaded to ask."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        # AMD's, which torch calls cuda too
        return Path("/dev/kfd").exists()
    return True


def _torch_sees_cuda() -> bool:
    try:
        asked = subprocess.run(
            [sys.executable, "-c", QUESTION], capture_output=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0
