"""Single 3T scans as teachers: parts of a shell, an unbiased reference, what may not be tested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training.tiny import train_here, write_recipe

from dmri7t.cli.model import main
from dmri7t.errors import ModelError
from dmri7t.evaluation.folds import refuse_known
from dmri7t.models.bundle import check_bundle
from dmri7t.models.translator import Translator
from dmri7t.signal.gradients import tells_tensor
from dmri7t.signal.grids import Grid
from dmri7t.signal.harmonics import synthesize
from dmri7t.signal.reference import Reference
from dmri7t.signal.shell import Brain, Shell, ShellSignal
from dmri7t.simulation.acquisition import draw_protocol
from dmri7t.training.example import TrainingExample
from dmri7t.training.loss import masked_error
from dmri7t.training.pairs import Cutting
from dmri7t.training.scans import draw_parts, load_scans, mix, widened

SIZES = "--fields 3 --head-scale 0.4 --voxel-size 4 --voxel-size-7t 3.4 --directions 30 --b0s 2"


def sphere(n: int) -> np.ndarray:
    vectors = np.random.default_rng(n).normal(size=(n, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """Two heads, scanned at 3T alone."""
    root = tmp_path_factory.mktemp("lab")
    main(["simulate", str(root), "--subjects", "2", *SIZES.split()])
    return root


def test_parts_are_of_all_sizes_and_never_share_a_direction():
    directions_N3, rng = sphere(40), np.random.default_rng(0)
    parts = [draw_parts(directions_N3, rng) for _ in range(60)]
    for given, kept in parts:
        assert sorted([*given, *kept]) == list(range(40))
        assert min(len(given), len(kept)) >= 6
        assert tells_tensor(directions_N3[given]) and tells_tensor(directions_N3[kept])
    sizes = [len(given) for given, _ in parts]
    # few against many, halves, many against few
    assert min(sizes) < 12 and max(sizes) > 28 and sizes.count(20) > 15


def test_shells_without_two_parts():
    assert draw_parts(sphere(11), np.random.default_rng(0)) is None
    flat = np.stack([np.cos(np.arange(30.0)), np.sin(np.arange(30.0)), np.zeros(30)], 1)
    assert draw_parts(flat, np.random.default_rng(0)) is None


@pytest.mark.parametrize("n", [20, 60])
def test_the_reference_is_right_on_the_mean(n):
    """RISH of noisy signals are too large; those of a reference are not, also where near zero."""
    generator = torch.Generator().manual_seed(0)
    edge = 32
    brain = Brain(np.ones((edge,) * 3, bool), Grid((edge,) * 3, np.diag([2, 2, 2, 1.0])))
    sh_C = torch.zeros(15)
    sh_C[0], sh_C[1:6], sh_C[6:] = 1.8, torch.linspace(-0.15, 0.15, 5), 0.01
    directions_N3, sigma, n_b0 = sphere(n), 0.05, 1
    clean_N = synthesize(sh_C[:, None], directions_N3)
    noise = torch.randn(n + 1, brain.n_voxels, generator=generator)

    def measure(sigma: float) -> ShellSignal:
        return ShellSignal(
            signal_NV=1000 * (clean_N + sigma * noise[1:]),
            b0_V=1000 * (1 + sigma / n_b0**0.5 * noise[0]),
            directions_N3=directions_N3,
            bval=1000.0,
            n_b0=n_b0,
            brain=brain,
        )

    reference = Reference.of(measure(sigma), 1000 * sigma)
    # of the same fit: uneven directions mix orders a little
    truth_3 = Shell.from_signal(measure(0.0)).rish_3V[:, 0]
    plain_3 = Shell.from_signal(measure(sigma)).rish_3V.mean(1)
    assert reference.orders == 3 and bool((reference.rish_3V[2] < 0).any())
    for order in range(3):
        found = float(reference.rish_3V[order].mean() - truth_3[order])
        assert abs(found) < 0.15 * abs(float(plain_3[order] - truth_3[order])), order


def test_noise_of_a_measured_target_does_not_move_the_least_loss():
    """The constant that suits a noisy target best is the truth's, where the root's would not be."""
    generator = torch.Generator().manual_seed(1)
    shape = (1, 3, 28, 28, 28)
    truth = 0.3
    noisy = truth**2 + 0.15 * torch.randn(shape, generator=generator)
    target = noisy.sign() * noisy.abs().sqrt()
    mask, root = torch.ones(1, 1, *shape[2:]), torch.tensor(0.6, requires_grad=True)
    optimizer = torch.optim.Adam([root], 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        masked_error(root.expand(shape), target, mask, measured=torch.ones(1)).backward()
        optimizer.step()
    assert root.item() == pytest.approx(truth, abs=0.01)
    # the mean of noisy roots is another one
    assert target.mean().item() < truth - 0.05


def test_orders_that_a_target_does_not_show_teach_nothing():
    estimate = torch.rand(2, 3, 8, 8, 8, requires_grad=True)
    target, mask = torch.zeros(2, 3, 8, 8, 8), torch.ones(2, 1, 8, 8, 8)
    shown = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    masked_error(estimate, target, mask, shown, torch.tensor([1.0, 0.0])).backward()
    assert not estimate.grad[0, 2].any() and estimate.grad[1, 2].any() and estimate.grad[0, 1].any()


def test_thin_slabs_are_widened_and_hold_the_same_voxels():
    protocol = draw_protocol(np.random.default_rng(0))
    mask = np.zeros((9, 8, 5), bool)
    mask[2:7, 1:7, 1:4] = True
    brain = Brain(mask, Grid(mask.shape, np.diag([2, 2, 4, 1.0])))
    n = len(protocol.directions)
    signal = torch.rand(n, brain.n_voxels) + 1
    measured = ShellSignal(signal, signal[0] + 1, protocol.directions, 1000.0, 1, brain)
    shell = Shell.from_signal(measured)
    wide = widened(shell, 8)
    assert wide.brain.mask.shape == (9, 8, 8) and wide.brain.n_voxels == brain.n_voxels
    for one, other in ((shell, wide), (wide, shell)):
        places = one.brain.grid.affine @ [*np.argwhere(one.brain.mask)[7], 1]
        assert places == pytest.approx(
            other.brain.grid.affine @ [*np.argwhere(other.brain.mask)[7], 1]
        )


def test_examples_show_the_same_anatomy_and_people_are_split(scans, tmp_path):
    data = load_scans(scans, tmp_path, Cutting(patch=12, patches=7))
    assert not set(data.split.training) & set(data.split.validation)
    assert len(data.training) == len(data.validation) == 7
    assert data.scans.subjects == data.scans.scans == 2 and data.scans.examples == 7
    sizes = set()
    for item in data.training:
        example = TrainingExample.load(item.source)
        assert bool(example.measured) and int(example.orders) in (2, 3)
        assert not example.target[int(example.orders) :].any()
        sizes.add(example.description.voxel_sizes)
        both = example.mask & (example.target[0] > 0)
        low, high = (a[0][both].astype(float) for a in (example.rish, example.target))
        assert np.corrcoef(low, high)[0, 1] > 0.5
    assert len(sizes) > 3  # draws have crops of their own
    mixed = mix(data, [data.validation[0].source], 0.3)
    assert len(mixed.training) == 10 and mixed.scans.simulated_part == 0.3
    assert mixed.validation == data.validation


def test_from_scans_to_a_model_that_refuses_its_teachers(scans, tiny_model, tmp_path):
    recipe = write_recipe(tmp_path / "tiny.toml", "regression", 8)
    text = recipe.read_text().replace("patch = 16\n", "patch = 32\nsimulated_part = 0.25\n")
    recipe.write_text(text)
    first, second = tmp_path / "first", tmp_path / "second"
    train_here(recipe, first, "--scans", scans)
    training = check_bundle(first).training
    assert training.source == f"simulated blocks and single 3T scans of {scans.name}"
    assert training.scans.examples == 4 and training.scans.simulated_part == pytest.approx(0.2)
    assert set(training.subjects) == {*training.split.training, *training.split.validation}
    card = (first / "README.md").read_text()
    assert f"4 blocks of 3T scans of {scans.name} (2 subjects with 2 scans" in card
    assert str(scans) not in card + (first / "config.json").read_text()
    command = ["evaluate", str(first), "--degrade", str(scans), "--output", str(tmp_path / "o")]
    with pytest.raises(SystemExit, match="2"):
        main(command)
    # what a model starts from is remembered, too
    other = tmp_path / "other"
    main(["simulate", str(other), "--subjects", "2", "--seed", "5", *SIZES.split()])
    train_here(recipe, second, "--scans", other, "--start", first)
    start = check_bundle(second).training.start
    assert start.name == "tiny" and start.subjects == training.subjects
    assert check_bundle(second).scale == check_bundle(first).scale
    with pytest.raises(ModelError, match=f"was trained on {training.subjects[0]}"):
        refuse_known(Translator.load(second), training.subjects, scans)


def test_other_networks_are_kept_from_the_start(scans, tiny_model, tmp_path, capsys):
    recipe = write_recipe(tmp_path / "tiny.toml", steps=4)
    recipe.write_text(recipe.read_text().replace("patch = 16", "patch = 16\nsimulated_part = 0"))
    with pytest.raises(SystemExit, match="2"):
        main(["train", str(recipe), str(tmp_path / "no"), "--scans", str(scans)])
    assert "teaches the regression alone, not vqvae_3t" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        wrong = ["--scans", str(scans), "--start", "cnn"]
        main(["train", str(recipe), str(tmp_path / "no"), *wrong])
    assert "--start: differs from the recipe in form, sees, mean" in capsys.readouterr().err


def test_options_that_do_not_go_together(scans, tmp_path, capsys):
    recipe = write_recipe(tmp_path / "tiny.toml")
    said = {
        ("--start", "default"): "--start: goes with --scans",
        ("--scans", str(scans), "--pairs", str(scans)): "--scans: goes without --pairs",
        ("--scans", str(scans)): "patch is 16 and simulated blocks have 32",
        ("--scans", str(scans), "--unpaired", str(scans)): "--unpaired: goes with --pairs",
    }
    for words, message in said.items():
        with pytest.raises(SystemExit, match="2"):
            main(["train", str(recipe), str(tmp_path / "out"), *words])
        assert message in capsys.readouterr().err
