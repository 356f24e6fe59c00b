"""A raw scan is cleaned before it is prepared, where the settings ask for it, and never else."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import nibabel
import numpy as np
import pytest

from dmri7t.errors import InputError
from dmri7t.interfaces.clean import CleanScan
from dmri7t.interfaces.prepare import PrepareCleaned
from dmri7t.models.bundle import model_checksum
from dmri7t.models.config import read_config
from dmri7t.settings import Settings
from niflow.dmri7t import init_scan_wf, plan_scan
from niflow.dmri7t.sidecars import describe_result


@pytest.fixture(scope="module")
def scan(make_scan, tmp_path_factory):
    return make_scan(tmp_path_factory.mktemp("in"), shape=(14, 16, 12))


@pytest.fixture
def settings(tiny_model):
    return Settings(str(tiny_model), "tiny", "0", model_checksum(tiny_model), 2, 1)


def clean(scan, folder, **options):
    given = {"denoise": False, "gibbs": False, "slice_axis": 2, "b0_threshold": 100.0, **options}
    interface = CleanScan(dwi=str(scan.dwi), bval=str(scan.bval), **given)
    folder.mkdir()
    return interface.run(cwd=folder).outputs


def test_both_are_done_and_said(scan, tmp_path):
    made = {
        name: clean(scan, tmp_path / name, **options)
        for name, options in {
            "nothing": {},
            "denoise": {"denoise": True},
            "gibbs": {"gibbs": True},
            "both": {"denoise": True, "gibbs": True},
        }.items()
    }
    source = nibabel.load(scan.dwi)
    images = {name: nibabel.load(outputs.dwi) for name, outputs in made.items()}
    records = {name: json.loads(open(o.cleaning).read()) for name, o in made.items()}
    for image in images.values():
        np.testing.assert_array_equal(image.affine, source.affine)
        assert image.header.get_zooms() == source.header.get_zooms()
    np.testing.assert_array_equal(images["nothing"].dataobj, source.dataobj)
    # noise first, ringing then
    from dmri7t.signal.clean import remove_ringing

    last = remove_ringing(np.asarray(images["denoise"].dataobj[..., 3]), 2)
    np.testing.assert_array_equal(last, images["both"].dataobj[..., 3])
    assert np.abs(last - images["gibbs"].dataobj[..., 3]).max() > 1
    # the phantom's noise has a standard deviation of 20
    assert 12 < records["both"]["noise_sd"] < 28
    done = {name: (bool(r["denoised"]), r["gibbs"]) for name, r in records.items()}
    assert done["nothing"] == (False, False) and done["both"] == (True, True)
    again = clean(scan, tmp_path / "again", denoise=True, gibbs=True)
    assert open(again.dwi, "rb").read() == open(made["both"].dwi, "rb").read()
    prepared = PrepareCleaned(
        dwi=made["both"].dwi,
        bval=str(scan.bval),
        bvec=str(scan.bvec),
        b0_threshold=100.0,
        cleaning=made["both"].cleaning,
    ).run(cwd=tmp_path)
    checks = json.loads(open(prepared.outputs.checks).read())
    assert checks["cleaning"] == records["both"]


def test_nothing_is_done_unless_asked_for(scan, settings):
    plan = plan_scan(scan, settings)
    model = read_config(Path(settings.model))
    without = init_scan_wf(plan, model)
    assert without.get_node("clean") is None and "Noise was taken" not in without.__desc__
    said = describe_result(plan, model)
    assert "Denoised" not in said and "GibbsCorrected" not in said
    assert settings.digest() == attrs.evolve(settings, denoise=False).digest()


def test_what_is_done_is_declared_cited_and_said(scan, settings):
    asked = attrs.evolve(settings, denoise=True, gibbs=True)
    plan = plan_scan(scan, asked)
    model = read_config(Path(settings.model))
    workflow = init_scan_wf(plan, model)
    node = workflow.get_node("clean")
    assert node.mem_gb >= 0.5 and node.n_procs == 1
    for text in ("Veraart et al. 2016", "Kellner et al. 2016", "Both were done by DIPY"):
        assert text in workflow.__desc__
    said = describe_result(plan, model)
    assert said["Denoised"] == "MP-PCA" and said["GibbsCorrected"] is True
    every = [
        attrs.evolve(settings, denoise=d, gibbs=g) for d in (False, True) for g in (False, True)
    ]
    assert len({each.digest() for each in every}) == 4


def test_slices_lie_where_the_sidecar_says(scan, settings):
    assert plan_scan(scan, settings).slice_axis == 2
    scan = attrs.evolve(scan, sidecar={"SliceEncodingDirection": "j-"})
    assert plan_scan(scan, settings).slice_axis == 1


@pytest.mark.parametrize("kind", ["qsiprep", "hcp", "derivative"])
@pytest.mark.parametrize("option", ["denoise", "gibbs"])
def test_a_scan_that_was_resampled_is_refused(scan, settings, kind, option):
    scan = attrs.evolve(scan, kind=kind)
    with pytest.raises(InputError, match="for raw scans: leave them out"):
        plan_scan(scan, attrs.evolve(settings, **{option: True}))
    plan_scan(scan, settings)
