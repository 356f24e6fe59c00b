"""FA and MD of answers: to which side they are off, and how far, noise of the reference apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dmri7t.evaluation.chain import Estimate, ShellScan
from dmri7t.evaluation.tensors import TISSUE, Anisotropy, TensorReference
from dmri7t.signal.grids import Grid
from dmri7t.signal.shell import Brain
from dmri7t.signal.tensor import fractional_anisotropy
from dmri7t.simulation.acquisition import spread_directions

SHAPE, SIGMA = (30, 30, 30), 0.05


@pytest.fixture(scope="module")
def scene():
    """Tensors (6, V) that are known, and two noisy measurements of them, 30 directions each."""
    generator = torch.Generator().manual_seed(0)
    n_voxels = int(np.prod(SHAPE))
    axis_3V = torch.nn.functional.normalize(torch.randn(3, n_voxels, generator=generator), dim=0)
    across_V = 0.3 + 0.4 * torch.rand(n_voxels, generator=generator)
    more_V = 1.3 * torch.rand(n_voxels, generator=generator)
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    tensor_6V = torch.stack([more_V * axis_3V[i] * axis_3V[j] for i, j in pairs])
    tensor_6V[:3] += across_V
    directions = spread_directions(60)
    cosine_NV = torch.from_numpy(directions).float() @ axis_3V
    clean_NV = torch.exp(-(across_V + more_V * cosine_NV.square()))
    brain = Brain(np.ones(SHAPE, bool), Grid(SHAPE, np.diag([2.0, 2, 2, 1])))

    def scan(first: int) -> ShellScan:
        noise = SIGMA * torch.randn(clean_NV[first::2].shape, generator=generator)
        return ShellScan(
            signal_NV=(clean_NV[first::2] + noise).clamp_min(0),
            b0_V=torch.ones(n_voxels),
            directions_N3=directions[first::2],
            bval=1000.0,
            n_b0=10_000,
            brain=brain,
            brain_out=brain,
        )

    scans = [scan(0), scan(1)]
    seen = [Estimate.measured(each.represent()) for each in scans]
    reference = TensorReference.of(*seen, scans[0])
    return tensor_6V / 1000, reference, Anisotropy.of(seen[0], scans[0])


class Known:
    """An answer whose tensors are given."""

    def __init__(self, tensor_6V: torch.Tensor) -> None:
        self.tensor_6V = tensor_6V

    def tensor(self, scan: ShellScan) -> torch.Tensor:
        return self.tensor_6V


def answer(tensor_6V: torch.Tensor) -> Anisotropy:
    return Anisotropy.of(Known(tensor_6V), None)


EVERYWHERE = torch.ones(int(np.prod(SHAPE)), dtype=torch.bool)


def truth(tensor_6V: torch.Tensor) -> TensorReference:
    """A reference that is known."""
    return TensorReference.of(Known(tensor_6V), Known(tensor_6V), None)


def test_the_size_is_fa(scene):
    torch.testing.assert_close(
        answer(scene[0]).fa_6V.norm(dim=0).float(), fractional_anisotropy(scene[0])
    )


def test_an_answer_that_is_right_has_no_error(scene):
    tensor_6V, reference, _ = scene
    errors = reference.errors(answer(tensor_6V), EVERYWHERE)
    assert errors["bias FA"] == pytest.approx(0, abs=0.005)
    assert errors["bias MD"] == pytest.approx(0, abs=0.005)
    assert errors["RMSE FA"] < 0.02 and errors["RMSE MD"] < 0.02


def test_noise_of_an_answer_raises_its_fa_and_that_is_told(scene):
    """The first measurement itself: what it is off by is known, and the second tells as much."""
    tensor_6V, reference, first = scene
    told = reference.errors(first, EVERYWHERE)
    true = truth(tensor_6V).errors(first, EVERYWHERE)
    assert true["bias FA"] > 0.01 and true["RMSE FA"] > 0.05 and true["RMSE MD"] > 0.02
    for name, value in true.items():
        assert told[name] == pytest.approx(value, abs=0.006), name


def test_what_an_answer_is_off_by_is_told(scene):
    tensor_6V, reference, _ = scene
    off_6V = tensor_6V.clone()
    off_6V[:3] += 1e-4
    true = truth(tensor_6V)
    wrong = (answer(off_6V), EVERYWHERE)
    told, known = reference.errors(*wrong), true.errors(*wrong)
    assert told["bias MD"] == pytest.approx(0.1, abs=0.005)
    assert told["RMSE MD"] == pytest.approx(0.1, abs=0.01)
    # the same differences on a larger mean are a smaller FA
    assert known["bias FA"] < -0.04
    assert told["bias FA"] == pytest.approx(known["bias FA"], abs=0.005)
    assert told["RMSE FA"] == pytest.approx(known["RMSE FA"], abs=0.01)


def test_water_does_not_count():
    tensor_62 = torch.tensor([[0.8, 0.5, 0.5, 0, 0, 0], [3.0, 3.0, 3.0, 0, 0, 0]]).T / 1000
    right, wrong = tensor_62.clone(), tensor_62.clone()
    wrong[:, 1] *= 0.5
    reference = truth(right)
    both = torch.ones(2, dtype=torch.bool)
    errors = reference.errors(answer(wrong), both)
    assert errors == pytest.approx(dict.fromkeys(errors, 0.0), abs=1e-6)
    assert float(right[:3, 1].mean()) * 1000 > TISSUE
    assert all(np.isnan(v) for v in reference.errors(answer(wrong), ~both).values())


def test_voxels_where_two_measurements_contradict_each_other_do_not_count():
    """Divided by a size that noise made nothing of, one voxel would be all that counts."""
    tensor_62 = torch.tensor([[0.8, 0.5, 0.5, 0, 0, 0], [0.9, 0.6, 0.3, 0, 0, 0]]).T / 1000
    first, second = tensor_62.clone(), tensor_62.clone()
    first[:, 1] = torch.tensor([0.5, -0.4, 0.5, 0, 0, 0]) / 1000
    second[:, 1] = torch.tensor([-0.2, 1.3, 0.1, 0, 0, 0]) / 1000
    errors = TensorReference.of(Known(first), Known(second), None).errors(
        answer(tensor_62), torch.ones(2, dtype=torch.bool)
    )
    assert errors == pytest.approx(dict.fromkeys(errors, 0.0), abs=1e-6)
