"""pybids finds the results by their entities."""

from __future__ import annotations

import json

import pytest
from bids import BIDSLayout

PARAM = {"name": "param", "entities": [{"name": "param", "pattern": "[_/\\\\]param-([a-z0-9]+)"}]}
"""The one entity of ours that pybids does not know yet."""


@pytest.fixture(scope="module")
def layouts(written, tmp_path_factory):
    config = tmp_path_factory.mktemp("config") / "param.json"
    config.write_text(json.dumps(PARAM))
    configs = ["bids", "derivatives", str(config)]
    return {
        name: BIDSLayout(result.root, validate=False, config=configs)
        for name, result in written.items()
    }


def test_entities_find_the_scan(layouts, written):
    for name, desc in (("bids", "7Tlike"), ("qsiprep", "preproc")):
        found = layouts[name].get(suffix="dwi", desc=desc, extension=".nii.gz")
        assert [f.path for f in found] == [str(written[name].dwi)]
        entities = found[0].get_entities()
        wanted = {"subject": "01", "session": "a", "acquisition": "hi", "direction": "AP"}
        assert entities.items() >= wanted.items() and int(entities["run"]) == 1
        assert entities.get("space") == ("ACPC" if name == "qsiprep" else None)
        assert found[0].get_metadata()["Synthetic"] is True
        beside = layouts[name].get_bval(str(written[name].dwi))
        assert beside == str(written[name].beside(".bval"))


def test_entities_find_masks_and_maps(layouts, written):
    for name, layout in layouts.items():
        masks = layout.get(suffix="mask", desc="brain", extension=".nii.gz", return_type="file")
        assert masks == [str(written[name].mask)]
        query = {"suffix": "dwimap", "extension": ".nii.gz", "return_type": "file"}
        assert layout.get(param="fa", desc="7Tlike", **query) == [str(written[name].fa)]
        rish = layout.get(model="sh", desc="native", **query)
        assert sorted(f.split("param-")[1][:5] for f in rish) == ["rish0", "rish2", "rish4"]
