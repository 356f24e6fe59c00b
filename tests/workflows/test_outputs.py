"""An output is a row of OUTPUTS and a maker: names, estimate and docs follow from the row."""

import importlib.util
import json
from pathlib import Path

import attrs
import pytest

from dmri7t.files import strict_json
from dmri7t.io.derivatives import OUTPUTS, Output
from dmri7t.models.config import read_config
from dmri7t.settings import LAYOUTS
from niflow.dmri7t import init_outputs_wf, model_settings, plan_scan
from niflow.dmri7t.outputs import MapMaker
from niflow.dmri7t.sidecars import describe_model


@pytest.fixture(scope="module")
def plan(make_scan, calibrated_model, tmp_path_factory):
    settings, _ = model_settings(str(calibrated_model))
    return plan_scan(make_scan(tmp_path_factory.mktemp("in")), settings)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_output_has_one_maker(plan, layout):
    settings = attrs.evolve(plan.settings, output_layout=layout)
    plan = attrs.evolve(plan, settings=settings)
    workflow = init_outputs_wf(plan, read_config(Path(settings.model)))
    nodes = [workflow.get_node(name) for name in workflow.list_node_names()]
    writers = [node.interface for node in nodes if node.name.startswith("ds_")]
    written = [file for writer in writers for file in writer.targets()]
    assert len(written) == len(set(written))
    assert not set(plan.names.values()) - set(written)
    assert ("dwiref" in plan.names) == (layout == "qsiprep")


@pytest.mark.parametrize("key", OUTPUTS)
def test_every_output_says_what_it_is_and_its_unit(key):
    row = OUTPUTS[key]
    said = row.describe("More.")
    assert said["Description"][0].isupper() or said["Description"][0].isdigit()
    assert said["Description"].endswith(". More.")
    # what is counted in a mask or told in a table has no unit
    assert ("Units" in said) == bool(row.volumes)


def sidecars(plan, model):
    """What every file's sidecar will say, by the file."""
    said = {}
    workflow = init_outputs_wf(plan, model)
    for name in workflow.list_node_names():
        node = workflow.get_node(name)
        if node.name.startswith("ds_"):
            inputs = node.interface.inputs
            own = getattr(inputs, "own", {})
            for file in node.interface.targets():
                if file.endswith((".nii.gz", "quality_dwi.json")):
                    said[file] = {**inputs.sidecar, **own.get(file, {})}
    return {key: said[file] for key, file in plan.names.items() if file in said}


def test_every_sidecar_says_what_is_true_of_its_file(plan):
    model = read_config(Path(plan.settings.model))
    said = sidecars(plan, model)
    assert set(said) == set(plan.names) - {"quality_tsv", "settings"}
    for key, record in said.items():
        assert record["Description"].startswith(OUTPUTS[key].describe()["Description"])
        assert record.get("Units") == OUTPUTS[key].describe().get("Units")
        of_input = OUTPUTS[key].grid == "input" or key in ("mask", "dwiref")
        assert record["Synthetic"] != of_input
        for name in ("ModelName", "ModelDescription", "RandomSeed", "TranslatedShells"):
            assert (name in record) != of_input, (key, name)
        assert "ModelTraining" not in record
    assert said["rish0_native"]["SphericalHarmonicBasis"] == "MRtrix"
    assert said["fa_native"]["Volumes"] == said["fa"]["Volumes"] == plan.tensor_volumes
    for key in ("rish0_uncertainty", "fa_uncertainty"):
        assert "as the model's calibration expects it" in said[key]["Description"]


def test_spread_of_samples_is_not_called_an_error(plan):
    settings = attrs.evolve(plan.settings, samples=3)
    model = attrs.evolve(read_config(Path(settings.model)), calibration=None)
    said = sidecars(attrs.evolve(plan, settings=settings), model)
    assert "not calibrated" in said["rish4_uncertainty"]["Description"]
    assert said["rish4_uncertainty"]["Calibrated"] is False and "fa_uncertainty" not in said


def test_model_is_described_once(plan):
    model = read_config(Path(plan.settings.model))
    text = strict_json(describe_model(model, plan.settings))
    told = json.loads(text)
    assert told["SHA256"] == plan.settings.model_sha256 and told["Calibrated"] is True
    assert told["Training"]["source"] and told["Ranges"]["bval"] == [700, 3000]


@pytest.mark.parametrize(("volumes", "n"), [("", 0), ("one", 1), ("shells", 1), ("scan", 18)])
@pytest.mark.parametrize("grid", ["input", "output"])
def test_a_new_row_is_named_counted_and_described(plan, monkeypatch, volumes, n, grid):
    before = plan.result_gigabytes(1.0)
    row = Output("_param-new_dwimap.nii.gz", "what is new", volumes=volumes, grid=grid)
    monkeypatch.setitem(OUTPUTS, "new", row)
    assert plan.names["new"] == "sub-01/dwi/sub-01_param-new_dwimap.nii.gz"
    shape = (plan.grid if grid == "input" else plan.grid_out).shape
    size = 0.9 * n * shape[0] * shape[1] * shape[2] * 4 / 2**30
    assert plan.result_gigabytes(1.0) - before == pytest.approx(size)
    assert [row.suffix, row.text, row.units] in docs_extension().outputs_rows()
    maker = MapMaker("ds_new", "generated", {"new": ("mean", 0)}, {"Model": "sh"})
    writer = maker.node(plan, {"Synthetic": True}).interface
    assert writer.targets() == [plan.names["new"], "sub-01/dwi/sub-01_param-new_dwimap.json"]
    assert writer.inputs.stacked == (volumes == "shells")
    assert maker.mask == ("mask" if grid == "input" else "mask_out")


def docs_extension():
    """The extension of the documentation that reads the tables of its pages from the code."""
    pytest.importorskip("sphinx")
    path = Path(__file__).parents[2] / "docs/_ext/from_code.py"
    spec = importlib.util.spec_from_file_location("from_code", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_that_no_one_can_count_is_refused():
    with pytest.raises(ValueError, match="volumes"):
        Output("_x.nii.gz", "x", volumes="several")
