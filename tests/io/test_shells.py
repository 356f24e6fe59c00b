"""A shell between nodes: what was written is read again."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.io.arrays import load_meta, load_shell, save_shell
from dmri7t.signal.grids import Grid
from dmri7t.signal.shell import Brain, Shell, ShellSignal


def test_a_shell_goes_through_a_file(tmp_path):
    brain = Brain(np.ones((6, 5, 4), bool), Grid((6, 5, 4), np.eye(4)))
    directions = fibonacci_directions(12)
    signal, b0 = torch.rand(12, 120) + 1, torch.rand(120) + 3
    shell = Shell.from_signal(ShellSignal(signal, b0, directions, 1500.0, 2, brain))
    path = tmp_path / "shell.safetensors"
    save_shell(path, shell)
    again = load_shell(path, brain)
    for name, value in attrs.asdict(shell, recurse=False).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(again, name), value), name
    assert again.description == shell.description
    assert (again.directions_N3 == shell.directions_N3).all()
    assert (again.plan.matrix_CN == shell.plan.matrix_CN).all()
    assert load_meta(path)["gain"] == shell.plan.gain_L.tolist()
    part = brain.crop((slice(0, 3), slice(0, 5), slice(0, 4)))
    with pytest.raises(ValueError, match="of shape"):
        load_shell(path, part)
