"""Every node of the graph is told of in plain words; time is foretold from voxels and volumes."""

from pathlib import Path

import attrs
import pytest

from dmri7t.models.config import read_config
from niflow.dmri7t import init_dmri7t_wf, model_settings, plan_scan
from niflow.dmri7t.steps import MOST, STEPS, describe_step, foretell


@pytest.fixture(scope="module")
def plan(make_scan, calibrated_model, tmp_path_factory):
    settings, _ = model_settings(str(calibrated_model), samples=2)
    return plan_scan(make_scan(tmp_path_factory.mktemp("in")), settings)


@pytest.mark.parametrize("layout", ["bids", "qsiprep"])
@pytest.mark.parametrize("denoise", [False, True])
def test_every_node_has_words(plan, layout, denoise, tmp_path):
    changed = attrs.evolve(plan.settings, output_layout=layout, denoise=denoise)
    plan = attrs.evolve(plan, settings=changed)
    workflow = init_dmri7t_wf([plan], read_config(Path(plan.settings.model)), tmp_path)
    names = [name.split(".", 1)[1] for name in workflow.list_node_names()]
    real = [name for name in names if not name.endswith(("inputnode", "outputnode"))]
    assert real
    for name in real:
        step = describe_step(name)
        assert step.words and step.weight > 0 and "_wf" not in step.sentence
    # nothing is described that no graph has
    ends = {name.rpartition(".")[2] for name in real}
    assert {"represent", "harmonize", "report", "ds_dwi"} <= ends & STEPS.keys()


def test_an_unknown_node_is_named():
    with pytest.raises(KeyError, match="dwi_wf.conjure: no such node"):
        describe_step("dwi_wf.conjure")


def test_time_follows_values_people_and_processors(plan):
    other = attrs.evolve(plan, scan=attrs.evolve(plan.scan, entities={"sub": "02"}))
    one, two = foretell([plan], 1), foretell([plan, other], 1)
    assert two.all == pytest.approx(2 * one.all) and two.each == one.each
    assert foretell([plan, plan], 1).each == pytest.approx(2 * one.each)
    assert foretell([plan, other], 64).all == pytest.approx(one.each / MOST)
    assert "a minute or so a participant, with" in one.describe()
    many = attrs.evolve(two, each=90.0, all=180.0)
    assert "about 90 s a participant, 3 min for all 2, with 1 processor" in many.describe()
    finer = attrs.evolve(plan, grid_out=attrs.evolve(plan.grid_out, shape=(200, 200, 200)))
    assert foretell([finer], 1).each > 5 * one.each
