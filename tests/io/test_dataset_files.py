"""The data set that comes in, and the one that is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import attrs
import pytest
from examples import make

from dmri7t.errors import InputError
from dmri7t.io import dataset
from dmri7t.io.dataset import check_dataset, validate_dataset
from dmri7t.io.dataset_files import Origin, check_output, model_file, write_dataset_files
from dmri7t.io.derivatives import OUTPUTS, describe_space, output_path
from dmri7t.io.scan import Scan
from dmri7t.settings import Settings

SETTINGS = Settings("folder", "m", "1", "ab", 5, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "missing"),
        ("{", "not readable"),
        ("[]", r"holds no JSON object"),
        ('{"Name": "x"}', "BIDSV"),
    ],
)
def test_description_is_needed(tmp_path, text, message):
    if text is not None:
        (tmp_path / "dataset_description.json").write_text(text)
    with pytest.raises(InputError, match=rf"dataset_description\.json: .*{message}"):
        check_dataset(tmp_path)


def test_folder_is_needed(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        check_dataset(tmp_path / "nothing")


def test_validator_names_files(tmp_path):
    make.make_dataset("broken/one_of_two", tmp_path)
    validation = validate_dataset(tmp_path)
    image = "sub-01/dwi/sub-01_dwi.nii.gz"
    assert "DWI_MISSING_BVAL" in validation.of_files({image})[image]
    assert not validation.of_files({"sub-02/dwi/sub-02_dwi.nii.gz"})
    assert not validation.of_dataset()


def test_validator_names_errors_of_the_data_set(tmp_path):
    make.make_dataset("good/single", tmp_path)
    (tmp_path / "dataset_description.json").write_text('{"BIDSVersion": "1.10.0"}')
    assert validate_dataset(tmp_path).of_dataset()


@pytest.mark.parametrize(
    ("program", "remark"),
    [
        ("sleep 30", "no answer after 1 s"),
        ("echo no JSON", "could not be run"),
        ('echo \'{"issues": {"issues": []}}\'', "no errors"),
    ],
)
def test_validator_that_hangs_or_fails_is_no_obstacle(tmp_path, monkeypatch, program, remark):
    script = tmp_path / dataset.VALIDATOR
    script.write_text(f"#!/bin/sh\nexec {program}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(dataset, "VALIDATOR_SECONDS", 1)
    assert remark in validate_dataset(tmp_path).remark


def test_validator_that_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not installed" in validate_dataset(tmp_path).remark


def scan_of(entities):
    image = Path("dwi.nii.gz")
    return Scan(image, image, image, {}, entities, "bids:raw:dwi.nii.gz")


def test_names_of_results():
    entities = {"sub": "01", "ses": "a", "dir": "AP"}
    scan = scan_of(entities)
    path = output_path("out", scan, "fa")
    name = "sub-01_ses-a_dir-AP_model-tensor_param-fa_desc-7Tlike_dwimap.nii.gz"
    assert str(path) == f"out/sub-01/ses-a/dwi/{name}"
    assert len({o.suffix for o in OUTPUTS.values()}) == len(OUTPUTS)


def test_data_set_that_is_written_is_valid(tmp_path, monkeypatch):
    for name in ("DMRI7T_IMAGE", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"):
        monkeypatch.delenv(name, raising=False)
    source, out = tmp_path / "in", tmp_path / "out"
    make.make_dataset("good/single", source)
    described = json.loads((source / "dataset_description.json").read_text())
    more = {"DatasetDOI": "doi:10.0.2.3/x", "License": "CC0", "Authors": ["A. Bee", "C. Dee"]}
    (source / "dataset_description.json").write_text(json.dumps({**described, **more}))
    write_dataset_files(out, {"raw": source}, SETTINGS, {"Training": {"source": "heads"}})
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "dmri7t"
    assert "Container" not in description["GeneratedBy"][0]
    assert description["SourceDatasets"] == [{"URL": source.as_uri(), "DOI": "doi:10.0.2.3/x"}]
    assert description["License"] == "CC0" and description["Authors"] == more["Authors"]
    assert "logs/CITATION.md" in description["HowToAcknowledge"]
    model = json.loads((out / model_file(SETTINGS)).read_text())
    assert model["Training"] == {"source": "heads"}
    (out / "sub-01/dwi").mkdir(parents=True)
    scan = scan_of({"sub": "01"})
    for key in OUTPUTS:
        if OUTPUTS[key].suffix.endswith((".toml", ".tsv", ".json")):
            output_path(out, scan, key).write_text("{}")
    (out / "sub-01.html").write_text("<html></html>")
    (out / "sub-01/figures").mkdir()
    (out / "sub-01/figures/a.png").write_bytes(b"x")
    (out / "logs").mkdir()
    (out / "logs/crash.txt").write_text("x")
    assert validate_dataset(out).errors == []


def test_a_container_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DMRI7T_IMAGE", "dmri7t:0")
    monkeypatch.setenv("APPTAINER_CONTAINER", "docker://dmri7t")
    write_dataset_files(tmp_path, {"raw": tmp_path}, SETTINGS, {})
    (made,) = json.loads((tmp_path / "dataset_description.json").read_text())["GeneratedBy"]
    assert made["Container"] == {"Type": "apptainer", "Tag": "dmri7t:0", "URI": "docker://dmri7t"}


@pytest.mark.parametrize("name", ["README", "README.md", "README.rst"])
def test_a_readme_that_is_there_stays(tmp_path, name):
    (tmp_path / name).write_text("ours\n")
    write_dataset_files(tmp_path, {"raw": tmp_path}, SETTINGS, {})
    assert [p.name for p in tmp_path.glob("README*")] == [name]
    assert (tmp_path / name).read_text() == "ours\n"


def test_what_holds_for_the_sources_holds_on(tmp_path):
    said = {
        "a": {"License": "CC0", "Authors": ["A. Bee", "C. Dee"], "HowToAcknowledge": "Cite A."},
        # what is no valid BIDS says nothing
        "b": {"License": 3, "Authors": "C. Dee", "HowToAcknowledge": ["", None]},
        "c": {"License": "PDDL"},
    }
    for name, text in said.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "dataset_description.json").write_text(json.dumps(text))
    both = Origin.of([tmp_path / "a", tmp_path / "b", tmp_path / "without"])
    assert both == Origin("CC0", ("A. Bee", "C. Dee"), ("Cite A.",))
    assert both.to_json()["HowToAcknowledge"].endswith(" Of the source data: Cite A.")
    # of two licences none holds for the whole
    assert "License" not in Origin.of([tmp_path / "a", tmp_path / "c"]).to_json()


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("bids::sub-01/anat/sub-01_T1w.nii.gz", "bids:raw:sub-01/anat/sub-01_T1w.nii.gz"),
        ("sub-01/anat/sub-01_T1w.nii.gz", "bids:raw:sub-01/anat/sub-01_T1w.nii.gz"),
        ("bids:other:x.nii.gz", "bids:other:x.nii.gz"),
        ("https://templates.example/x.nii.gz", "https://templates.example/x.nii.gz"),
        ("orig", "bids:raw:dwi.nii.gz"),
        ({"VolumeReference": "orig"}, "bids:raw:dwi.nii.gz"),
        (None, "bids:raw:dwi.nii.gz"),
    ],
)
def test_space_of_the_source_is_named_from_outside(said, seen):
    scan = attrs.evolve(
        scan_of({"sub": "01", "space": "T1w"}), sidecar={"SpatialReference": said} if said else {}
    )
    assert describe_space(scan) == {"SpatialReference": seen}


def test_folder_of_another_program_is_not_written_into(tmp_path):
    check_output(tmp_path / "new")
    write_dataset_files(tmp_path / "ours", {"raw": tmp_path}, SETTINGS, {})
    check_output(tmp_path / "ours")
    make.make_dataset("good/single", tmp_path / "raw")
    with pytest.raises(InputError, match=r"raw: holds another data set \(dmri7t example"):
        check_output(tmp_path / "raw")
