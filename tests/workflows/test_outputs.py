"""An output is a row of OUTPUTS and a maker: names, estimate and docs follow from the row."""

import importlib.util
from pathlib import Path

import attrs
import pytest

from dmri7t.io.derivatives import OUTPUTS, Output
from dmri7t.models.config import read_config
from dmri7t.settings import LAYOUTS
from niflow.dmri7t import init_outputs_wf, model_settings, plan_scan
from niflow.dmri7t.outputs import MapMaker


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
    assert [row.suffix, row.text] in docs_extension().outputs_rows()
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
