"""The 7T-like signal, the grids it lies on, and the metrics that are taken of it."""

import attrs
import numpy as np
import pytest
import torch
from conftest import fibonacci_directions
from scipy.ndimage import map_coordinates
from shells import translated_shell

from dmri7t.signal.compose import Composer, interpolate_volumes
from dmri7t.signal.consistency import BeforeAfter, LowPass
from dmri7t.signal.grids import Grid, refine, voxel_coordinates
from dmri7t.signal.prepare import find_brain, mask_volumes, mean_volume
from dmri7t.signal.quality import (
    Group,
    compare_groups,
    evenly,
    quality_record,
    quality_table,
    repair,
)
from dmri7t.signal.regrid import Regrid
from dmri7t.signal.represent import floor_b0
from dmri7t.signal.resample import resample_mask
from dmri7t.signal.rish import rish
from dmri7t.signal.shell import Brain, Shell, ShellSignal

GRID = Grid((14, 16, 12), np.diag([2.0, 2.0, 2.5, 1.0]))
FINE = refine(GRID, 1.6)


def ball(grid, radius=10.0):
    places = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    world = places @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    centre = GRID.affine[:3, :3] @ ((np.asarray(GRID.shape) - 1) / 2)
    return ((world - centre) ** 2).sum(-1) < radius**2


MASK, MASK_FINE = ball(GRID), ball(FINE)
BRAIN, BRAIN_FINE = Brain(MASK, GRID), Brain(MASK_FINE, FINE)
SAME = Composer(Regrid(BRAIN, BRAIN), (0.25, 4.0))


def test_regrid_is_the_spline_inside_and_knows_no_outside():
    everything = np.ones(GRID.shape, bool)
    rng = np.random.default_rng(0)
    volume = rng.random(GRID.shape)
    regrid = Regrid(Brain(everything, GRID), Brain(np.ones(FINE.shape, bool), FINE))
    got = regrid(torch.as_tensor(volume.reshape(1, -1)))[0].reshape(FINE.shape).numpy()
    axes = [
        np.clip(c, 0, n - 1) for c, n in zip(voxel_coordinates(GRID, FINE), GRID.shape, strict=True)
    ]
    expected = map_coordinates(volume, np.meshgrid(*axes, indexing="ij"), order=3, mode="mirror")
    np.testing.assert_allclose(got, expected, atol=1e-10)
    # a constant stays constant up to the edge of the mask: nothing rings
    flat = Regrid(BRAIN, BRAIN_FINE)(torch.full((3, int(MASK.sum())), 7.0))
    assert flat.shape == (3, MASK_FINE.sum())
    torch.testing.assert_close(flat, torch.full_like(flat, 7.0), atol=1e-5, rtol=0)


def test_rows_do_not_depend_on_how_many_there_are():
    values = torch.as_tensor(np.random.default_rng(1).random((19, int(MASK.sum()))))
    regrid = Regrid(BRAIN, BRAIN_FINE)
    torch.testing.assert_close(regrid(values)[17:18], regrid(values[17:18]))


def scan(n=30):
    """A scan of one shell with some anisotropy everywhere; b0s differ."""
    directions = fibonacci_directions(n)
    rng = np.random.default_rng(2)
    weights = torch.as_tensor(rng.random((2, int(MASK.sum()))), dtype=torch.float32)
    b0 = 800 + 200 * weights[0]
    signal = b0 * (0.125 - 0.075 * torch.as_tensor(directions[:, :1] ** 2, dtype=torch.float32))
    dwi = torch.cat([b0[None] * 1.1, b0[None] * 0.9, signal])
    return dwi, b0, directions


def test_factor_one_gives_the_fitted_signal_back():
    dwi, b0, directions = scan()
    shell = Shell.from_signal(ShellSignal(dwi[2:], b0, directions, 1000.0, 2, BRAIN))
    out = np.zeros((32, int(MASK.sum())), np.float32)
    translated = translated_shell(shell, b0, rish(shell.sh_CV)[:3], list(range(2, 32)))
    result = SAME.compose(dwi, b0, [translated], [0, 1], [], out)
    np.testing.assert_allclose(out, dwi, rtol=2e-4)
    np.testing.assert_allclose(result.b0_V, b0, rtol=1e-5)
    assert result.outside == 0 and max(result.bounded[0]) < 0.5


def test_twice_the_root_doubles_the_signal_and_bounds_hold():
    dwi, b0, directions = scan()
    shell = Shell.from_signal(ShellSignal(dwi[2:], b0, directions, 1000.0, 2, BRAIN))
    out = np.zeros((32, int(MASK.sum())), np.float32)
    for factor, expected, bounded in ((2.0, 2.0, 0.0), (9.0, 4.0, 1.0)):
        target = rish(shell.sh_CV)[:3] * factor**2
        translated = translated_shell(shell, b0, target, list(range(2, 32)))
        result = SAME.compose(dwi, b0, [translated], [0, 1], [], out)
        np.testing.assert_allclose(out[2:].mean(0), expected * dwi[2:].mean(0), rtol=1e-3)
        assert result.bounded[0][0] == bounded


def test_scan_is_held_to_what_was_measured_at_low_frequencies():
    """A factor that is the same everywhere is taken back whole; one that alternates stays."""
    dwi, b0, directions = scan()
    shell = Shell.from_signal(ShellSignal(dwi[2:], b0, directions, 1000.0, 2, BRAIN))
    lowpass = LowPass(BRAIN, GRID.voxel_sizes, 0.25)
    composer = attrs.evolve(SAME, lowpass=lowpass)
    places = np.argwhere(MASK).sum(1)
    alternating = torch.as_tensor((1.3 * 1.1 ** ((-1.0) ** places)) ** 2, dtype=torch.float32)
    out = np.zeros((32, int(MASK.sum())), np.float32)
    target = rish(shell.sh_CV)[:3] * alternating
    translated = translated_shell(shell, b0, target, list(range(2, 32)))
    composer.compose(dwi, b0, [translated], [0, 1], [], out)
    wanted, got = lowpass(dwi), lowpass(torch.from_numpy(out))
    torch.testing.assert_close(got, wanted, rtol=3e-3, atol=0.5)
    change = out[2:] / dwi[2:].numpy()
    even = places % 2 == 0
    assert change[:, even].mean() > 1.05 and change[:, ~even].mean() < 0.95


def test_b0s_lose_what_the_filter_took_out_of_their_mean():
    """The signal is that of the scan all the same: it is multiplied by what it was divided by."""
    dwi, b0, directions = scan()
    shell = Shell.from_signal(ShellSignal(dwi[2:], b0, directions, 1000.0, 2, BRAIN))
    removed = torch.as_tensor(20 * np.sin(np.arange(len(b0))), dtype=torch.float32)
    scale = b0 / (b0 - removed)
    translated = translated_shell(shell, b0, rish(shell.sh_CV * scale)[:3], list(range(2, 32)))
    estimate = attrs.evolve(translated.estimate, sh_CV=shell.sh_CV * scale, b0_V=b0 - removed)
    out = np.zeros((33, int(MASK.sum())), np.float32)
    dwi = torch.cat([dwi, dwi[:1]])
    filtered = attrs.evolve(translated, estimate=estimate)
    result = SAME.compose(dwi, b0, [filtered], [0, 1], [32], out)
    np.testing.assert_allclose(out[:2], dwi[:2] / scale, rtol=1e-5)
    np.testing.assert_allclose(out[:2].mean(0), b0 - removed, rtol=1e-5)
    np.testing.assert_allclose(out[2:], dwi[2:], rtol=2e-4)
    np.testing.assert_allclose(result.b0_V, b0 - removed, rtol=1e-5)


def test_signal_is_held_to_what_water_diffuses_to_and_counted():
    dwi, b0, directions = scan()
    shell = Shell.from_signal(ShellSignal(dwi[2:], b0, directions, 1000.0, 2, BRAIN))
    sh = shell.sh_CV.clone()
    sh[0] = -sh[0]
    out = np.zeros((32, int(MASK.sum())), np.float32)
    negative = attrs.evolve(shell, sh_CV=sh)
    translated = translated_shell(negative, b0, rish(sh)[:3], list(range(2, 32)))
    result = SAME.compose(dwi, b0, [translated], [0, 1], [], out)
    # all is below what free water leaves
    np.testing.assert_allclose(out[2:], np.exp(-3.2) * np.tile(b0, (30, 1)), rtol=1e-5)
    assert result.outside == 30 * MASK.sum()
    # and above the b0 there is nothing
    large = translated_shell(shell, b0, 1e4 * rish(shell.sh_CV)[:3], list(range(2, 32)))
    attrs.evolve(SAME, bounds=(0.25, 50.0)).compose(dwi, b0, [large], [0, 1], [], out)
    np.testing.assert_allclose(out[2:], np.tile(b0, (30, 1)), rtol=1e-5)


def test_floor_is_used_on_both_sides():
    dwi, b0, directions = scan()
    b0[5] = 1.0
    shell = Shell.from_signal(ShellSignal(dwi[2:], b0, directions, 1000.0, 2, BRAIN))
    out = np.zeros((32, int(MASK.sum())), np.float32)
    translated = translated_shell(shell, b0, rish(shell.sh_CV)[:3], list(range(2, 32)))
    SAME.compose(dwi, b0, [translated], [0, 1], [], out)
    assert floor_b0(b0)[5] > 100
    np.testing.assert_allclose(out[2:, 5], dwi[2:, 5], rtol=5e-2)


def test_consistency_of_the_same_scan_is_near_zero():
    dwi, _, _ = scan()
    fine = Brain(resample_mask(MASK, GRID, FINE), FINE)
    out = Regrid(BRAIN, fine)(dwi)
    back = Regrid(fine, BRAIN)
    groups = {"b0": [0, 1], "b1000": list(range(2, 32))}
    nmse = compare_groups(BeforeAfter(dwi, out, back), groups)
    assert set(nmse) == {"b0", "b1000", "all"} and max(nmse.values()) < 0.02
    doubled = compare_groups(BeforeAfter(dwi, 2 * out, back), groups)
    assert doubled["b0"] == pytest.approx(1, abs=0.1)


def test_repairs():
    clean = np.array([0, 1.5], np.float32)
    assert repair(clean)[0] is clean
    fixed, bad, below = repair(np.array([np.inf, -np.inf, np.nan, -1, 2]))
    assert fixed.tolist() == [0, 0, 0, 0, 2] and (bad, below) == (3, 1)


def test_evenly_keeps_both_ends():
    assert evenly(list(range(100)), 4) == [0, 33, 66, 99]
    assert evenly([1, 2]) == [1, 2]


def test_brain_voxels_come_in_c_order():
    rng = np.random.default_rng(3)
    volumes = rng.random((3, *GRID.shape)).astype(np.float32)
    volumes[1, 7, 8, 6] = np.nan
    for layout in (np.asarray, np.asfortranarray):

        def volume(index, layout=layout):
            return layout(volumes[index])

        out = np.zeros((3, int(MASK.sum())), np.float32)
        found = mask_volumes(volume, MASK, out)
        np.testing.assert_array_equal(out, np.nan_to_num(volumes[:, MASK]))
        assert found == {"nonfinite": 1, "negative": 0}
        mean = mean_volume(volume, (0, 2))
        np.testing.assert_allclose(mean, volumes[[0, 2]].mean(0), rtol=1e-6)


def test_given_mask_loses_voxels_without_signal():
    b0 = np.ones(GRID.shape, np.float32)
    b0[0] = 0
    found = find_brain(b0, GRID.voxel_sizes, np.ones(GRID.shape))
    assert found.sum() == b0.sum()


SHELL = {
    "bval": 1000.0,
    "n_directions": 30,
    "order": 4,
    "sigma": 0.05,
    "laplace_beltrami": 0.006,
    "gain": [1, 0.9, 0.5],
    "bounded": [0.0, 0.1, 0.2],
}
NMSE = {"b0": 0.001, "b1000": 0.01, "b3000": 0.002, "all": 0.004}


def test_quality_record_and_table():
    record = quality_record(
        [Group("b0", 2), Group("b1000", 30, SHELL), Group("b3000", 6)],
        nmse=NMSE,
        checks={"nonfinite": 1, "negative": 2, "output_outside": 3, "mask_volume_ml": 1400.0},
        voxel_sizes=[2.0, 2.0, 6.0],
        ranges={"voxel_size_mm": [1, 3], "snr": [10, 40]},
    )
    assert record["repaired"] == {"input_nonfinite": 1, "input_negative": 2, "output_outside": 3}
    assert record["snr"] == pytest.approx(20)
    assert len(record["outside_training"]) == 1 and "6 mm" in record["outside_training"][0]
    lines = [line.split("\t") for line in quality_table(record).splitlines()]
    assert len({len(line) for line in lines}) == 1
    b0, shell, passed = (dict(zip(lines[0], line, strict=True)) for line in lines[1:])
    assert shell["group"] == "b1000" and shell["bounded_r4"] == "0.2"
    assert passed["translated"] == "false" and passed["bounded_r4"] == "n/a"
    # the voxels are thick: the scan as a whole is flagged, none of its shells
    assert record["flagged"] and not record["compared"]
    assert b0["flagged"] == "true" and shell["flagged"] == passed["flagged"] == "false"
    assert shell["novelty"] == "n/a"


def small_record(novelty: dict, reason: str = "", extent: tuple[str, ...] = ()) -> dict:
    shell = Group("b1000", 30, {**SHELL, "novelty": novelty})
    return quality_record(
        [Group("b0", 2), shell, Group("b3000", 6, reason=reason)],
        nmse=NMSE,
        checks={"nonfinite": 0, "negative": 0, "output_outside": 0, "mask_volume_ml": 1400.0},
        voxel_sizes=[2.0] * 3,
        ranges={},
        extent=extent,
    )


def test_what_is_unlike_training_is_flagged_and_said():
    ordinary = {"score": 0.71, "volume_ml": 0.0, "flagged": False}
    record = small_record(ordinary)
    assert not record["flagged"] and record["compared"] and record["outside_training"] == []
    strange = {"score": 1.64, "volume_ml": 7.25, "flagged": True}
    record = small_record(strange)
    assert record["flagged"] and "b1000: 7.2 ml of the brain" in record["outside_training"][0]
    rows = [line.split("\t") for line in quality_table(record).splitlines()]
    shell = dict(zip(rows[0], rows[2], strict=True))
    assert (shell["novelty"], shell["novelty_ml"], shell["flagged"]) == ("1.64", "7.25", "true")
    beyond = "outside the range of the model, b 500 to 2600 s/mm2"
    record = small_record(ordinary, beyond)
    assert record["outside_training"] == [f"b3000: {beyond}."] and record["flagged"]
    assert not small_record(ordinary, "not named by --shells")["flagged"]
    assert small_record(ordinary, extent=("half a brain.",))["outside_training"] == [
        "half a brain."
    ]


def test_a_b0_is_positive_within_its_own_mask():
    """A spline undershoots beside a steep edge; the mean b0 and each b0 do not."""
    mask = np.ones((12, 12, 12), bool)
    brain = Brain(mask, Grid(mask.shape, np.diag([2.0, 2.0, 2.0, 1.0])))
    fine = Grid((20, 20, 20), np.diag([1.2, 1.2, 1.2, 1.0]))
    regrid = Regrid(brain, Brain(np.ones(fine.shape, bool), fine))
    b0 = torch.full(mask.shape, 5.0)
    b0[6:] = 1000.0
    b0_V = b0.flatten()
    assert (regrid(b0_V[None])[0] < 0).any()
    assert (regrid.positive(b0_V) > 0).all()
    out = np.empty((1, regrid.n_out), np.float32)
    assert interpolate_volumes(b0_V[None], regrid, out, [0]) > 0 and (out > 0).all()
