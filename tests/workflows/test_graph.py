"""The whole graph on phantoms: results, cache, seed, failures, and what the driver imports."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import attrs
import nibabel
import numpy as np
import pytest
from nipype import Workflow

from dmri7t.errors import InputError
from dmri7t.execution.limits import Resources
from dmri7t.execution.run import run_workflow
from dmri7t.execution.status import RunStatus
from dmri7t.io.derivatives import output_path, outputs_of
from dmri7t.models.bundle import check_bundle, model_checksum, write_bundle
from dmri7t.models.config import read_config
from dmri7t.models.fitted import Shares
from dmri7t.settings import Settings
from niflow.dmri7t import init_scan_wf, model_settings, participant_wf_name, plan_scan
from niflow.dmri7t.shell import describe_translation


def names_of(scan):
    return {key: str(output_path(Path(), scan, key)) for key in outputs_of("bids")}


def build(scans, settings, out):
    top = Workflow("dmri7t_wf")
    model = attrs.evolve(read_config(settings.model), ranges={"bval": (700, 1500)})
    participants = {}
    for scan in scans:
        plan = plan_scan(scan, settings)
        scan_wf = init_scan_wf(plan, model)
        scan_wf.get_node("inputnode").inputs.trait_set(**plan.files, out_dir=str(out))
        label = scan.entities["sub"]
        part = Workflow(participant_wf_name(label))
        part.add_nodes([scan_wf])
        top.add_nodes([part])
        participants[participant_wf_name(label)] = label
    return top, participants


def run(scans, settings, tmp_path, **options):
    lines = []
    top, participants = build(scans, settings, tmp_path / "out")
    status = run_workflow(
        top,
        participants,
        Resources(n_procs=2, memory_gb=8),
        work_dir=tmp_path / "work",
        log_dir=tmp_path / "logs",
        status=RunStatus(echo=lines.append),
        **options,
    )
    return status, lines


@pytest.fixture(scope="module")
def settings(tiny_model):
    return Settings(
        str(tiny_model), "tiny", "0", model_checksum(tiny_model), 2, 2, output_resolution=(2.1,)
    )


@pytest.fixture(scope="module")
def finished(make_scan, settings, tmp_path_factory):
    """A run of two shells, one of them too high for the tensor."""
    folder = tmp_path_factory.mktemp("finished")
    scan = make_scan(folder / "in", shells={1000: 16, 2000: 12})
    status, lines = run([scan], settings, folder)
    assert status.exit_code == 0, status.summary()
    return folder, scan, status, lines


@pytest.fixture(scope="module")
def undisturbed(make_scan, settings, tmp_path_factory):
    """A run of one shell: its folder, and the scan."""
    folder = tmp_path_factory.mktemp("undisturbed")
    scan = make_scan(folder / "in")
    status, _ = run([scan], settings, folder)
    assert status.exit_code == 0, status.summary()
    return folder, scan


def states(status, label="01"):
    return {n.name: n.state for n in status.participants[label].nodes.values()}


def test_outputs_are_whole(finished, settings):
    folder, scan, _, _ = finished
    names = {key: folder / "out" / name for key, name in names_of(scan).items()}
    image = nibabel.load(names["dwi"])
    source = nibabel.load(scan.dwi)
    data = image.get_fdata()
    assert image.shape[3] == source.shape[3]
    np.testing.assert_allclose(image.header.get_zooms()[:3], 2.1, rtol=1e-5)
    mask = nibabel.load(names["mask"]).get_fdata() > 0
    assert np.isfinite(data).all() and data.min() >= 0 and data[~mask].max() == 0
    for kind, space in (("native", source), ("7tlike", image), ("uncertainty", image)):
        for order in (0, 2, 4):
            rish = nibabel.load(names[f"rish{order}_{kind}"])
            assert rish.shape == (*space.shape[:3], 2)
            assert np.isfinite(rish.get_fdata()).all()
    for kind in ("fa_native", "md_native"):
        assert nibabel.load(names[kind]).shape == source.shape[:3]
    fa = nibabel.load(names["fa"]).get_fdata()
    assert 0 <= fa.min() and fa.max() <= 1 and fa[mask].mean() > 0.1
    sidecar = json.loads(names["dwi"].with_name("sub-01_desc-7Tlike_dwi.json").read_text())
    assert sidecar["Synthetic"] is True and sidecar["ModelName"] == "tiny"
    assert [f["Order"] for f in sidecar["SphericalHarmonicFits"]] == [4, 2]
    quality = json.loads(names["quality_json"].read_text())
    assert [s["name"] for s in quality["shells"]] == ["b1000", "b2000"]
    assert 0 < quality["nmse"]["b0"] < 0.1 and quality["snr"] > 5
    assert any("b-value 2000" in sentence for sentence in quality["outside_training"])
    assert names["quality_tsv"].read_text().count("\n") == 4
    assert Settings.from_toml(names["settings"].read_text()) == settings


def test_second_run_computes_nothing(finished, settings):
    folder, scan, first, _ = finished
    before = {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("*") if p.is_file()}
    status, lines = run([scan], settings, folder)
    assert status.exit_code == 0, status.summary()
    assert set(states(status).values()) == {"cached"}
    assert not any("started" in line for line in lines)
    assert before == {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("*") if p.is_file()}
    timed = {n.name: n.seconds for n in first.participants["01"].nodes.values()}
    assert timed == {n.name: n.seconds for n in status.participants["01"].nodes.values()}


def test_results_that_were_deleted_are_written_again(finished, settings):
    folder, scan, _, _ = finished
    gone = folder / "out" / names_of(scan)["fa"]
    gone.unlink()
    status, _ = run([scan], settings, folder)
    assert gone.exists()
    ran = [name for name, state in states(status).items() if state == "done"]
    assert ran == ["dwi_wf.outputs_wf.ds_tensor"]


def test_another_model_folder_with_the_same_model_computes_nothing(finished, settings, tmp_path):
    folder, scan, _, _ = finished
    shutil.copytree(settings.model, tmp_path / "moved")
    status, _ = run([scan], attrs.evolve(settings, model=str(tmp_path / "moved")), folder)
    assert set(states(status).values()) == {"cached"}


def test_seed_computes_from_diffusion_on(make_scan, settings, tmp_path):
    """And a work folder that was moved is as good as before. The model's part goes in whole: where
    the scan gives it none, what follows the drawing is the same for every seed."""
    scan = make_scan(tmp_path / "in")
    whole = attrs.evolve(settings, weigh_by="model")
    status, _ = run([scan], whole, tmp_path / "first")
    assert status.exit_code == 0, status.summary()
    second = tmp_path / "second"
    shutil.copytree(tmp_path / "first/work", second / "work")
    status, _ = run([scan], attrs.evolve(whole, random_seed=1), second)
    assert status.exit_code == 0, status.summary()
    cached = {n.rsplit(".", 1)[-1] for n, s in states(status).items() if s == "cached"}
    assert cached == {
        "prepare",
        "define_grid",
        "represent",
        "weigh",
        "filter",
        "encode",
        "tensor_native",
        "collect_representations",
        "collect_estimates",
        "collect_novelty",
    }
    sidecar = second / "out/sub-01/dwi/sub-01_desc-7Tlike_dwi.json"
    assert json.loads(sidecar.read_text())["RandomSeed"] == 1


def test_broken_scan_stops_no_other(make_scan, settings, tmp_path):
    good = make_scan(tmp_path / "in", "01")
    bad = make_scan(tmp_path / "in", "02")
    content = bad.dwi.read_bytes()
    bad.dwi.write_bytes(content[: len(content) // 2])
    status, _ = run([good, bad], settings, tmp_path)
    assert status.exit_code == 1
    assert status.participants["01"].done
    (failure,) = status.participants["02"].failures
    assert failure.node.endswith("prepare") and "cut short" in failure.reason
    assert "\n" not in failure.reason and str(bad.dwi) in failure.reason
    assert Path(failure.crash_file).suffix == ".txt"
    assert not (tmp_path / "out/sub-02").exists()


def break_model(folder, settings):
    """The model with weights that do not fit its networks: it fails when it is used."""
    from safetensors.numpy import load_file, save_file

    from dmri7t.models.bundle import write_bundle

    broken = Path(shutil.copytree(settings.model, folder / "broken"))
    weights = load_file(broken / "super_resolution.safetensors")
    name = max(weights, key=lambda key: weights[key].ndim)
    save_file({**weights, name: weights[name][:1]}, broken / "super_resolution.safetensors")
    write_bundle(broken, read_config(broken))
    return attrs.evolve(settings, model=str(broken), model_sha256=model_checksum(broken))


def test_scan_whose_model_fails_leaves_nothing(make_scan, settings, tmp_path):
    """Mask and native RISH are known by then; a scan's results come together or not at all."""
    scan = make_scan(tmp_path / "in")
    status, _ = run([scan], break_model(tmp_path, settings), tmp_path)
    assert status.exit_code == 1
    failed = {failure.node for failure in status.participants["01"].failures}
    # whichever of the two needs the model first; the other may have begun, too
    assert failed and failed <= {"dwi_wf.b1000_wf.encode", "dwi_wf.b1000_wf.weigh"}
    ran = {name.rsplit(".", 1)[-1]: state for name, state in states(status).items()}
    assert ran["represent"] == ran["tensor_native"] == "done"
    assert not list((tmp_path / "out").rglob("*"))
    # with a model that works, the same command goes on from there
    status, _ = run([scan], settings, tmp_path)
    assert status.exit_code == 0, status.summary()
    assert states(status)["dwi_wf.prepare"] == "cached"
    assert (tmp_path / "out" / names_of(scan)["dwi"]).is_file()


def test_scan_that_cannot_be_written_whole_has_no_7tlike_scan(make_scan, settings, tmp_path):
    """The 7T-like scan comes last: where it is, all is."""
    scan = make_scan(tmp_path / "in")
    names = {key: tmp_path / "out" / name for key, name in names_of(scan).items()}
    names["fa"].mkdir(parents=True)  # in the way of the file
    status, _ = run([scan], settings, tmp_path)
    assert status.exit_code == 1 and "ds_tensor" in status.summary()
    assert names["mask"].is_file()
    for path in (names["dwi"], *names["dwi"].parent.glob("*_dwi.b*")):
        assert not path.exists()
    names["fa"].rmdir()
    status, _ = run([scan], settings, tmp_path)
    assert status.exit_code == 0, status.summary()
    assert names["dwi"].is_file() and names["fa"].is_file()


def test_shells_that_are_not_asked_for_are_interpolated(make_scan, settings, tmp_path):
    scan = make_scan(tmp_path / "in", shells={1000: 12, 2000: 12})
    status, _ = run([scan], attrs.evolve(settings, shells=(1000.0,), samples=1), tmp_path)
    assert status.exit_code == 0, status.summary()
    assert not any("b2000_wf" in name for name in states(status))
    names = names_of(scan)
    quality = json.loads((tmp_path / "out" / names["quality_json"]).read_text())
    assert [s["translated"] for s in quality["shells"]] == [True, False]
    assert not (tmp_path / "out" / names["rish0_uncertainty"]).exists()
    assert quality["shells"][1]["nmse"] < 0.1


def test_a_shell_that_is_not_there_is_an_error(make_scan, settings, tmp_path):
    scan = make_scan(tmp_path / "in")
    with pytest.raises(InputError, match="shells found: b1000"):
        plan_scan(scan, attrs.evolve(settings, shells=(3000.0,)))


def test_a_grid_of_too_few_voxels_is_an_error(make_scan, settings, tmp_path):
    scan = make_scan(tmp_path / "in")
    with pytest.raises(InputError, match=r"--output-resolution 500: leaves 1 x 1 x 1 voxels"):
        plan_scan(scan, attrs.evolve(settings, output_resolution=(500.0,)))


def test_shells_beyond_the_model_are_interpolated_unless_named(make_scan, settings, tmp_path):
    scan = make_scan(tmp_path / "in", shells={1000: 16, 4000: 12})
    bounded = attrs.evolve(settings, bval_range=(700, 1500))
    plan = plan_scan(scan, bounded)
    assert [s.name for s in plan.translated] == ["b1000"]
    assert plan.reasons == {"b4000": "outside the range of the model, b 700 to 1500 s/mm2"}
    named = plan_scan(scan, attrs.evolve(bounded, shells=(4000.0,)))
    assert [s.name for s in named.translated] == ["b4000"]
    assert named.reasons == {"b1000": "not named by --shells"}
    nothing = plan_scan(scan, attrs.evolve(settings, bval_range=(100, 300)))
    assert not nothing.translated and [s.name for s in nothing.passed] == ["b1000", "b4000"]


def test_methods_text_is_joined_from_the_steps(make_scan, settings, tmp_path):
    scan = make_scan(tmp_path / "in", shells={1000: 12, 2000: 12})
    text = init_scan_wf(plan_scan(scan, settings), read_config(Path(settings.model))).__desc__
    for words in (
        "Otsu",
        "spherical harmonics",
        "latent diffusion",
        "cubic B-splines",
        "weighted least squares",
        "synthetic",
    ):
        assert text.count(words) == 1, words


@pytest.mark.parametrize(
    ("samples", "super_resolution", "words"),
    [
        (None, None, ["it was added.", "by the model's super-resolution network."]),
        ((0, 0, 0), (0, 0, 0), ["none of it was added", "to the finer grid by cubic B-splines."]),
        (
            (0, 0.34, 0),
            (0.74, 0, 0),
            ["0% of R0, 34% of R2 and 0% of R4 was added", "74% of R0, 0% of R2 and 0% of R4"],
        ),
    ],
)
def test_methods_say_what_was_taken_of_each_network(
    settings, tiny_model, tmp_path, samples, super_resolution, words
):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    config = check_bundle(folder)
    if samples is not None:
        shares = Shares(samples=samples, super_resolution=super_resolution)
        config = attrs.evolve(config, shares=shares)
    write_bundle(folder, config)
    text = describe_translation(settings, read_config(folder))
    for part in words:
        assert part in text, text


@pytest.mark.parametrize("name", ["cnn", "gan"])
def test_methods_of_a_regression_name_no_other_network(settings, name):
    text = describe_translation(*model_settings(name))
    assert "nothing was sampled" in text and "by cubic B-splines." in text
    assert "super-resolution" not in text and "diffusion model" not in text


DRIVER = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path, PosixPath
import test_graph
from dmri7t.io.scan import Scan
from dmri7t.settings import Settings
if __name__ == "__main__":
    scan = {scan!r}
    settings = Settings.from_toml({settings!r})
    status, _ = test_graph.run([scan], settings, Path({folder!r}))
    assert status.exit_code == 0, status.summary()
    heavy = {{"torch", "monai", "lightning", "pytorch_lightning"}} & set(sys.modules)
    print("loaded:", sorted(heavy))
"""


def write_driver(folder, scan, settings):
    """A script that runs a scan in a process of its own."""
    script = folder / "driver.py"
    script.write_text(
        DRIVER.format(
            path=[str(Path(__file__).parent), *sys.path],
            scan=scan,
            settings=settings.to_toml(),
            folder=str(folder),
        )
    )
    return [sys.executable, str(script)]


def test_driver_imports_no_torch_and_the_same_seed_gives_the_same_bits(
    undisturbed, settings, tmp_path
):
    folder, scan = undisturbed
    done = subprocess.run(write_driver(tmp_path, scan, settings), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "loaded: []" in done.stdout
    images = sorted((tmp_path / "out").rglob("*.nii.gz"))
    assert len(images) > 10
    for file in images:
        other = folder / "out" / file.relative_to(tmp_path / "out")
        assert file.read_bytes() == other.read_bytes(), file


@pytest.mark.parametrize("at", ["super_resolve", "ds_dwi"])
def test_killed_and_started_again(undisturbed, settings, tmp_path, at):
    """SIGKILL once a node has begun, then the same again: the same bits as without."""
    folder, scan = undisturbed
    (tmp_path / "killed").mkdir()
    driver = subprocess.Popen(write_driver(tmp_path / "killed", scan, settings))
    deadline = time.monotonic() + 120
    while driver.poll() is None and time.monotonic() < deadline:
        # os.walk takes no offence at folders that vanish meanwhile
        walk = os.walk(tmp_path / "killed/work")
        if any(Path(d).name == at and "_inputs.pklz" in files for d, _, files in walk):
            break
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    status, _ = run([scan], settings, tmp_path / "killed")
    assert status.exit_code == 0, status.summary()
    whole, again = (Path(f) / "out" for f in (folder, tmp_path / "killed"))
    files = {p.relative_to(again) for p in again.rglob("*")}
    assert files == {p.relative_to(whole) for p in whole.rglob("*")}
    for file in sorted(f for f in files if f.name.endswith((".nii.gz", ".bvec", ".tsv"))):
        assert (whole / file).read_bytes() == (again / file).read_bytes(), file
