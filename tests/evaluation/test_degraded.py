"""Halves, k-space crops, and a scan without noise against itself."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch

from dmri7t.cli.model import main
from dmri7t.errors import InputError
from dmri7t.evaluation.case import metrics_of
from dmri7t.evaluation.chain import Estimate, interpolate_shell
from dmri7t.evaluation.degraded import degraded_cases
from dmri7t.signal.grids import Grid
from dmri7t.signal.kspace import coarser, crop_kspace
from dmri7t.training.halves import Degradation


@pytest.mark.parametrize("shape", [(16, 15, 12), (10, 9, 16)])
def test_a_crop_keeps_low_frequencies_exactly(shape):
    """A cosine below both Nyquist frequencies is the same cosine on the coarser grid."""
    n = (24, 20, 16)

    def wave(size: tuple[int, int, int]) -> torch.Tensor:
        axes = np.meshgrid(*[np.arange(s) / s for s in size], indexing="ij")
        phase = 2 * np.pi * (2 * axes[0] + axes[1] - 3 * axes[2])
        return torch.from_numpy(5 + np.cos(phase)).float()

    cropped = crop_kspace(wave(n)[None], shape)[0]
    torch.testing.assert_close(cropped, wave(shape), atol=1e-5, rtol=0)


def test_what_is_not_cropped_stays_as_it_is():
    noise = torch.randn(2, 6, 5, 4, generator=torch.manual_seed(0))
    torch.testing.assert_close(crop_kspace(noise, (6, 5, 4)), noise)


def test_the_coarser_grid_covers_the_same_field_of_view():
    grid = Grid((24, 20, 16), np.diag([-2.0, 2.0, 3.0, 1.0]))
    low = coarser(grid, 1.19)
    assert low.shape == (20, 17, 13)
    extents = [np.array(g.shape) * g.voxel_sizes for g in (grid, low)]
    assert extents[0] == pytest.approx(extents[1])


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two simulated heads, one of them with hardly any noise."""
    root = tmp_path_factory.mktemp("scans")
    common = "--subjects 1 --voxel-size 5 --voxel-size-7t 4.2 --directions 60 --b0s 4"
    for name, snr in (("quiet", 2000), ("loud", 15)):
        main(["simulate", str(root / name), *common.split(), "--snr", str(snr)])
        # the 3T scans alone: what would be 7T is no scan to degrade here
        for path in (root / name).glob("sub-*/ses-7T/dwi/*"):
            path.unlink()
    return root


def test_nothing_degraded_and_no_noise_is_no_error(scans):
    case = next(degraded_cases(scans / "quiet", [Degradation(1.0)]))
    metrics = metrics_of(interpolate_shell(case.scan, case.scan.represent()), case)
    assert case.orders == 3
    # two halves of the directions see orders above 4 in another way: not quite zero
    assert metrics["NMSE R0"] < 3e-3 and metrics["NMSE R2"] < 0.01 and metrics["NMSE FA"] < 0.01


def test_halves_of_few_directions_keep_their_b0s_apart(tmp_path):
    """They tell the noise of such a half; those of the other half are not known to it."""
    layout = "--subjects 1 --voxel-size 9 --voxel-size-7t 8 --fields 3 --directions 12 --b0s 4"
    main(["simulate", str(tmp_path), *layout.split()])
    plain, noisy = degraded_cases(tmp_path, [Degradation(1.2), Degradation(1.2, 3.0)])
    for scan in (plain.scan, noisy.scan):
        assert scan.n_b0 == len(scan.b0s_MV) == 2 and len(scan.signal_NV) == 6
        assert torch.allclose(scan.b0s_MV.mean(0), scan.b0_V)
    before, after = (case.scan.represent().description.sigma for case in (plain, noisy))
    assert after > 1.5 * before


def test_signals_of_directions_that_were_held_out(scans):
    """Nothing at all has an error of one; what was measured, that of its own noise alone."""
    errors = {}
    for name in ("quiet", "loud"):
        case = next(degraded_cases(scans / name, [Degradation(1.0)]))
        answer = interpolate_shell(case.scan, case.scan.represent())
        nothing = Estimate(0 * answer.rish_3V, 0 * answer.sh_CV)
        assert case.signal_metrics(nothing)["NMSE DWI"] == pytest.approx(1, abs=1e-6)
        errors[name] = case.signal_metrics(answer)["NMSE DWI"]
    assert abs(errors["quiet"]) < 4e-3 and errors["quiet"] + 3e-3 < errors["loud"] < 0.1


def test_the_truth_scores_better_than_what_is_measured(scans):
    """The loud scan's heads are the quiet one's: a perfect answer is known."""
    case = next(degraded_cases(scans / "loud", [Degradation(1.5)], truth=scans / "quiet"))
    measured = interpolate_shell(case.scan, case.scan.represent())
    right, plain = (metrics_of(e, case) | case.signal_metrics(e) for e in (case.perfect, measured))
    for name in ("NMSE R0", "NMSE R2", "NMSE DWI"):
        assert right[name] < 0.7 * plain[name], name
    itself = next(degraded_cases(scans / "quiet", [Degradation(1.5)], truth=scans / "quiet"))
    assert metrics_of(itself.perfect, itself)["NMSE R2"] < 0.01


def test_the_noise_of_a_shared_b0_is_no_error_of_who_leaves_it_out(tmp_path):
    """S0 of a perfect answer lacks the noise that scan and reference share."""
    common = "--subjects 1 --voxel-size 6 --voxel-size-7t 5 --directions 30 --b0s 1 --fields 3"
    for name, snr in (("quiet", 2000), ("loud", 15)):
        main(["simulate", str(tmp_path / name), *common.split(), "--snr", str(snr)])
    root, quiet = tmp_path / "loud", tmp_path / "quiet"
    case = next(degraded_cases(root, [Degradation(1.0)], truth=quiet))
    measured = interpolate_shell(case.scan, case.scan.represent())
    assert case.perfect is not None
    torch.testing.assert_close(case.comparable(measured).sh_CV, measured.sh_CV)

    def error(estimate: Estimate) -> float:
        return case.signal_metrics(estimate)["NMSE DWI"]

    assert error(case.comparable(case.perfect)) < 0.2 * error(measured)
    assert error(case.perfect) > 2 * error(case.comparable(case.perfect))
    with pytest.raises(ValueError, match="without its S0"):
        case.comparable(case.truth)
    # the reference has the floor of its noise, a perfect answer has none
    assert case.floor > 0
    low = attrs.evolve(case, floor=0.0).comparable(case.perfect)
    assert error(case.comparable(case.perfect)) < error(low)


def test_several_b0s_are_not_shared(scans):
    case = next(degraded_cases(scans / "loud", [Degradation(1.0)]))
    measured = interpolate_shell(case.scan, case.scan.represent())
    assert case.comparable(measured) is measured


def test_a_truth_of_other_heads_is_refused(scans, tmp_path):
    other = tmp_path / "other"
    layout = "--subjects 1 --fields 3 --voxel-size 6 --voxel-size-7t 5 --head-scale 0.5"
    main(["simulate", str(other), *layout.split()])
    with pytest.raises(InputError, match="grid"):
        next(degraded_cases(scans / "loud", truth=other))
    for path in other.glob("sub-*/ses-3T/dwi/*"):
        path.unlink()
    with pytest.raises(InputError, match="no scan sub-"):
        next(degraded_cases(scans / "loud", truth=other))


def test_coarser_and_noisier_scans_are_farther_from_the_other_half(scans):
    errors = []
    for crop, noise in ((1.0, 1.0), (1.5, 1.0), (1.5, 3.0)):
        case = next(degraded_cases(scans / "loud", [Degradation(crop, noise)]))
        estimate = interpolate_shell(case.scan, case.scan.represent())
        errors.append(metrics_of(estimate, case)["NMSE R2"])
    assert errors[0] < errors[1] < errors[2]


def test_command_on_scans_of_ones_own(scans, tiny_model, tmp_path, capsys):
    command = f"evaluate {tiny_model} --degrade {scans / 'loud'} --output {tmp_path} --threads 1"
    main([*command.split(), "--factors", "1.3", "--truth", str(scans / "quiet")])
    rows = (tmp_path / "table.tsv").read_text().splitlines()
    assert rows[0].split("\t")[:2] == ["factor", "method"]
    assert any(row.startswith("1.3 times coarser\ttiny\tR4\tNMSE") for row in rows)
    assert any(row.startswith("1.3 times coarser\ttruth\tFA\tNMSE") for row in rows)
    assert any(row.startswith("1.3 times coarser\ttiny\tDWI\tNMSE") for row in rows)
    assert not any("DWI\tSSIM" in row for row in rows)
    assert "noise of its own" in capsys.readouterr().out
