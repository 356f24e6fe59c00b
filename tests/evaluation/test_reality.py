"""Real beside simulated: what is the same lies close, and what was altered is found."""

from __future__ import annotations

import attrs
import numpy as np
import pandas as pd
import pytest
import torch

from dmri7t.cli.model import main
from dmri7t.evaluation.chain import ShellScan
from dmri7t.evaluation.reality.blocks import cut, protocol_of, read_shells, simulate
from dmri7t.evaluation.reality.compare import (
    FAR,
    Comparison,
    compare_shell,
    overlap,
    summary,
    table_of,
)
from dmri7t.evaluation.reality.measure import (
    APART,
    CROPS,
    band_shares,
    classify,
    coherence_metrics,
    detail_metrics,
    frequencies,
    inside_window,
    measure,
    power_spectra,
    tail_metrics,
)
from dmri7t.evaluation.reality.pictures import draw_comparisons
from dmri7t.evaluation.simulated import scan_of
from dmri7t.io.source import open_dataset
from dmri7t.signal.coherence import smooth
from dmri7t.signal.grids import Grid
from dmri7t.signal.harmonics import fit, plan_fit, synthesize
from dmri7t.signal.shell import Brain
from dmri7t.signal.spaces import TISSUES
from dmri7t.simulation.acquisition import HCP_3T, hcp_protocol, spread_directions
from dmri7t.simulation.patches import draw_patches
from dmri7t.simulation.subjects import REALITY

SIZE = 16
SIDECAR = {"EchoTime": HCP_3T.echo_time, "RepetitionTime": HCP_3T.repetition_time}


def blocks(seed: int, n: int) -> list[ShellScan]:
    """Blocks of brains under one protocol without flaws of its own."""
    protocol = hcp_protocol(np.random.default_rng(0))
    protocol = attrs.evolve(
        protocol, directions=spread_directions(30), voxel_sizes=np.full(3, 2.0), bval=1500.0
    )
    return [scan_of(draw_patches(seed + i, SIZE, protocol)[0]) for i in range(n)]


@pytest.fixture(scope="module")
def scans():
    return blocks(10, 8)


@pytest.fixture(scope="module")
def others():
    return [measure(block) for block in blocks(50, 8)]


def rows(real: list[ShellScan], simulated: list) -> pd.DataFrame:
    table = table_of([measure(block) for block in real], simulated)
    return table.set_index(["quantity", "tissue"])


def test_brains_of_one_simulator_lie_close(scans, others):
    table = rows(scans, others)
    assert {"sqrt R0", "sqrt R2 debiased", "sqrt R4 smoothed", "FA", "MD"} <= {
        name for name, _ in table.index
    }
    assert {tissue for _, tissue in table.index} == {"", "brain", *TISSUES}
    in_brain = table.xs("brain", level="tissue")
    assert in_brain["distance"].max() < 0.7 * FAR, in_brain["distance"].idxmax()
    assert (table.loc[("sqrt R2", "WM")][["distance"]] < FAR).all()
    correlations = [f"correlation of residuals, {axis}" for axis in "xyz"]
    assert (table.loc[correlations, "simulated_median"].abs() < 0.3).all()


def test_a_sample_compared_with_itself_is_no_distance_away(scans):
    table = rows(scans[:2], [measure(block) for block in scans[:2]])
    assert table["distance"].max() == pytest.approx(0, abs=1e-9)
    assert table["overlap"].min() == pytest.approx(1)


def test_doubled_r2_is_found(scans):
    def strengthen(scan: ShellScan) -> ShellScan:
        sh_CV = fit(scan.signal_NV, plan_fit(scan.directions_N3, 2, 0.0))
        sh_CV[0] = 0
        more = (2**0.5 - 1) * synthesize(sh_CV, scan.directions_N3)
        return attrs.evolve(scan, signal_NV=(scan.signal_NV + more).clamp_min(0))

    # the same heads on both sides: what is seen is what was altered
    same = [measure(scan) for scan in scans]
    plain, altered = rows(scans, same), rows([strengthen(scan) for scan in scans], same)
    for quantity in ("sqrt R2 smoothed", "sqrt(R2/R0) smoothed"):
        before, after = (t.loc[(quantity, "brain")] for t in (plain, altered))
        assert after["real_median"] == pytest.approx(2**0.5 * before["real_median"], rel=0.1)
        assert before["distance"] == 0 and after["distance"] > 0.1
        assert after["overlap"] < before["overlap"]


def test_detail_is_what_a_crop_of_white_coefficients_loses():
    """White in space: an eighth is left in voxels twice as large; noise on top changes little."""
    rng = np.random.default_rng(0)
    mask, directions = np.ones((24, 24, 24), bool), spread_directions(60)
    sh_CV = torch.zeros(6, mask.size)
    sh_CV[0] = 2.0
    sh_CV[1:] = torch.from_numpy(0.05 * rng.standard_normal((5, mask.size))).float()
    signal_NV = synthesize(sh_CV, directions)
    noise_NV = torch.from_numpy(0.1 * rng.standard_normal(signal_NV.shape)).float()
    brain = Brain(mask, Grid(mask.shape, np.eye(4)))
    clean = ShellScan(
        signal_NV=signal_NV,
        b0_V=torch.ones(mask.size),
        directions_N3=directions,
        bval=1000.0,
        n_b0=1,
        brain=brain,
        brain_out=brain,
    )
    noisy = attrs.evolve(clean, signal_NV=signal_NV + noise_NV)
    names = [f"order 2 kept in voxels {f:g} times larger, percent" for f in CROPS]
    for scan in (clean, noisy):
        kept = detail_metrics(scan, np.ones(mask.shape))
        # frequencies below a crop's limit, of 24: 15 of voxels half as large again, 11 of twice
        assert [kept[name, ""] for name in names] == pytest.approx(
            [100 * (15 / 24) ** 3, 100 * (11 / 24) ** 3], rel=0.06
        )
    few = attrs.evolve(clean, signal_NV=signal_NV[:11], directions_N3=directions[:11])
    assert detail_metrics(few, np.ones(mask.shape)) == {}


def test_noise_smoothed_along_an_axis_is_found(scans, others):
    def blur(scan: ShellScan) -> ShellScan:
        inside = torch.as_tensor(scan.brain.mask)
        volume = torch.zeros(len(scan.signal_NV), *scan.brain.mask.shape)
        volume[:, inside] = scan.signal_NV
        # one axis: the others are put aside as batches
        lines = volume.permute(0, 2, 3, 1).reshape(-1, scan.brain.mask.shape[0], 1, 1)
        shape = [volume.shape[i] for i in (0, 2, 3, 1)]
        blurred = (4 * smooth(lines)).reshape(shape).permute(0, 3, 1, 2)
        return attrs.evolve(scan, signal_NV=blurred[:, inside])

    table = rows([blur(scan) for scan in scans], others)
    far = table.loc["correlation of residuals, x"].iloc[0]
    assert far["real_median"] > 0.4 and far["distance"] > FAR
    comparison = Comparison("sub-a", "b1500", [measure(blur(s)) for s in scans], others)
    named = summary(comparison).split("Far apart")[1]
    assert "correlation of residuals, x" in named


def test_outlying_slices_and_drift_are_found(scans):
    def hurt(scan: ShellScan) -> ShellScan:
        signal = scan.signal_NV.clone()
        z_V = torch.as_tensor(np.nonzero(scan.brain.mask)[2])
        signal[3, z_V == 7] *= 0.4
        return attrs.evolve(scan, signal_NV=signal)

    def drift(scan: ShellScan) -> ShellScan:
        factor = 1 + 0.08 * torch.randn(30, 1, generator=torch.Generator().manual_seed(0))
        return attrs.evolve(scan, signal_NV=scan.signal_NV * factor)

    scan = max(scans, key=lambda s: s.brain.mask[:, :, 7].sum())
    metrics = {name: measure(change(scan)).metrics for name, change in
               {"plain": lambda s: s, "hurt": hurt, "drift": drift}.items()}  # fmt: skip
    slices = "outlying slices, percent", ""
    intensity = "drift of intensity between volumes, percent", ""
    assert metrics["hurt"][slices] > metrics["plain"][slices]
    assert metrics["drift"][intensity] > 4 > metrics["plain"][intensity]


def test_tissues_are_where_they_are():
    patch = draw_patches(4, 20, attrs.evolve(hcp_protocol(np.random.default_rng(0)),
                                             voxel_sizes=np.full(3, 2.0)))[0]  # fmt: skip
    scan = scan_of(patch)
    shell = scan.represent()
    tissue_V = classify(scan, shell)
    assert {1, 2} <= set(tissue_V.tolist())
    measured = measure(scan).voxels
    medians = {t: np.median(measured["FA", t]) for t in ("WM", "GM")}
    assert medians["WM"] > 1.5 * medians["GM"]


def test_spectrum_knows_frequency_and_axis():
    mask = np.ones((24, 24, 24), bool)
    wave = np.cos(2 * np.pi * 6 / 24 * np.arange(24))[None, :, None] + np.zeros(mask.shape)
    window = inside_window(mask)
    spectra = power_spectra(torch.from_numpy(wave[mask]), mask, window)
    assert frequencies(12)[spectra["y"].argmax()] == 0.25
    assert band_shares(spectra["y"])["middle"] > np.log10(0.9)
    # the window spreads a wave little across the axes
    assert spectra["radial"].argmax() == spectra["y"].argmax()
    assert spectra["radial"].sum() == pytest.approx(1)


def test_tails_of_normal_numbers_and_of_heavier_ones():
    rng = np.random.default_rng(0)
    normal = tail_metrics(rng.standard_normal((10, 20_000)))
    heavy = tail_metrics(rng.standard_t(4, (10, 20_000)))
    beyond, kurtosis = normal
    assert normal[beyond] == pytest.approx(0.006, abs=0.006)
    assert normal[kurtosis] == pytest.approx(0, abs=0.05)
    assert heavy[beyond] > 0.3 and heavy[kurtosis] > 1


def test_overlap_of_samples_apart_is_none():
    assert overlap(np.arange(10.0), np.arange(100.0, 110.0)) == 0


def test_simulation_follows_the_scan(scans):
    scan = scans[0]
    protocol = protocol_of(scan, SIDECAR, 17.0, np.random.default_rng(0))
    assert protocol.low.snr == 17.0 and protocol.low.echo_time == HCP_3T.echo_time
    assert protocol.bval == 1500 and protocol.n_b0 == 6
    assert np.allclose(protocol.voxel_sizes, 2) and protocol.directions is scan.directions_N3
    drawn = protocol_of(scan, {}, None, np.random.default_rng(0)).low
    assert drawn.snr != 17.0 and drawn.echo_time != HCP_3T.echo_time


def test_simulated_noise_comes_out_as_the_scans(scans):
    louder = scans[0].signal_NV + 0.1 * scans[0].b0_V.median() * torch.randn(
        scans[0].signal_NV.shape, generator=torch.Generator().manual_seed(0)
    )
    scan = attrs.evolve(scans[0], signal_NV=louder.abs())
    wanted, quiet = (measure(s).metrics["sigma over b0", ""] for s in (scan, scans[0]))
    assert wanted > 1.3 * quiet
    found = [
        measure(block).metrics["sigma over b0", ""]
        for block in simulate(scan, SIDECAR, REALITY.take(4), SIZE)
    ]
    assert np.median(found) == pytest.approx(wanted, rel=0.4)


def test_blocks_cover_the_brain_and_hold_its_values(scans):
    scan = scans[0]
    (whole,) = cut(scan, SIZE)
    assert torch.equal(whole.signal_NV, scan.signal_NV)
    assert (whole.brain.mask == scan.brain.mask).all()
    parts = list(cut(scan, 8))
    assert all(
        part.brain.mask.shape == (8, 8, 8) and part.brain.mask.mean() > 0.25 for part in parts
    )
    assert sum(part.brain.mask.sum() for part in parts) >= 0.8 * scan.brain.mask.sum()
    found = torch.cat([part.b0_V for part in parts])
    assert torch.isin(found, scan.b0_V).all()


def test_too_few_directions_for_noise_are_said(scans):
    six = [attrs.evolve(s, signal_NV=s.signal_NV[:6], directions_N3=s.directions_N3[:6])
           for s in scans[:2]]  # fmt: skip
    comparison = Comparison("sub-a", "b1500", *[[measure(s) for s in six]] * 2)
    assert "noise was not measured" in summary(comparison)
    assert not comparison.table()["quantity"].str.contains("R4").any()


def test_picture_of_many_shells_goes_on_in_a_second_one(scans, tmp_path, monkeypatch):
    monkeypatch.setattr("dmri7t.evaluation.reality.pictures.SHELLS", 1)
    one = Comparison("sub-a", "b1500", *[[measure(s) for s in scans[:2]]] * 2)
    names = [path.name for path in draw_comparisons([one] * 2, tmp_path)]
    assert names == ["comparison.png", "comparison_2.png"]
    assert all((tmp_path / name).stat().st_size > 10_000 for name in names)


@pytest.mark.slow
def test_command_on_a_data_set(tmp_path, capsys):
    from dmri7t.simulation.dataset import Layout, simulate_dataset

    layout = Layout(voxel_size=6.0, voxel_size_7t=6.0, n_directions=12, n_b0=2, fields=(3,))
    simulate_dataset(tmp_path / "bids", 1, 0, layout)
    out = tmp_path / "out"
    main(["compare", str(tmp_path / "bids"), "--output", str(out), "--subjects", "2"])
    table = pd.read_csv(out / "comparison.tsv", sep="\t", keep_default_na=False)
    assert list(table.columns[:4]) == ["scan", "shell", "quantity", "tissue"]
    assert set(table["shell"]) == {"b1000"}
    assert table["distance"].astype(float).map(np.isfinite).all()
    assert (out / "comparison.png").exists()
    assert "b1000: " in capsys.readouterr().out


def test_axes_are_turned_to_the_scanners(tmp_path, make_scan):
    made = make_scan(tmp_path / "sub-01" / "dwi")
    (tmp_path / "dataset_description.json").write_text('{"Name": "a", "BIDSVersion": "1.9.0"}')
    (scan,) = open_dataset(tmp_path).scans("01")
    (shell,) = read_shells(scan)
    assert (np.diag(shell.brain.grid.affine)[:3] > 0).all()
    import nibabel

    image = nibabel.load(made.dwi)
    place = np.argwhere(shell.brain.mask)[100]
    world = nibabel.affines.apply_affine(shell.brain.grid.affine, place)
    index = tuple(
        np.round(nibabel.affines.apply_affine(np.linalg.inv(image.affine), world)).astype(int)
    )
    row = int(shell.brain.mask[: place[0]].sum() + shell.brain.mask[place[0], : place[1]].sum()
              + shell.brain.mask[place[0], place[1], : place[2]].sum())  # fmt: skip
    assert float(shell.signal_NV[0, row]) == pytest.approx(float(image.dataobj[(*index, 2)]))


@pytest.mark.parametrize(
    ("args", "said"),
    [(["--subjects", "1"], "too few"), ([], "no scan could be compared")],
)
def test_command_says_what_is_wrong(tmp_path, capsys, args, said):
    (tmp_path / "dataset_description.json").write_text('{"Name": "a", "BIDSVersion": "1.9.0"}')
    (tmp_path / "sub-01" / "dwi").mkdir(parents=True)
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(tmp_path), "--output", str(tmp_path / "out"), *args])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_compare_shell_without_brain_has_no_simulations(scans):
    mask = np.zeros((SIZE,) * 3, bool)
    mask[8, 8, 8] = True
    values = {"signal_NV": scans[0].signal_NV[:, :1], "b0_V": scans[0].b0_V[:1]}
    scan = attrs.evolve(scans[0], **values, brain=Brain(mask, scans[0].brain.grid))
    comparison = compare_shell(scan, {}, REALITY.take(2))
    assert comparison.real == comparison.simulated == []


def test_coherence_falls_as_a_known_kernel_says_whatever_the_noise():
    """White coefficients smoothed once along each axis: 1, 2/3, 1/6 and nothing further away."""
    shape = (40, 40, 40)
    generator = torch.Generator().manual_seed(0)
    sh_CV = torch.zeros(6, *shape)
    sh_CV[0] = 1.5
    sh_CV[1:] = 0.3 * smooth(torch.randn(5, *shape, generator=generator))
    directions_N3 = spread_directions(40)
    clean_NV = synthesize(sh_CV.flatten(1), directions_N3)
    brain = Brain(np.ones(shape, bool), Grid(shape, np.diag([2.0, 2.0, 2.0, 1.0])))
    for sigma in (0.0, 0.2):
        noise_NV = sigma * torch.randn(clean_NV.shape, generator=generator)
        scan = ShellScan(
            signal_NV=(clean_NV + noise_NV).clamp_min(0),
            b0_V=torch.ones(brain.n_voxels),
            directions_N3=directions_N3,
            bval=1000.0,
            n_b0=1,
            brain=brain,
            brain_out=brain,
        )
        found = list(coherence_metrics(scan).values())
        # (1, 4, 6, 4, 1) / 16 is the kernel with itself
        assert found == pytest.approx([4 / 6, 1 / 6, 0, 0, 0], abs=0.02)
        assert len(found) == len(APART)
