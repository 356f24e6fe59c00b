"""A lab's own scans, BIDS and HCP's folders: what is paired, cut, left out, and trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from training.tiny import train_to_end, write_recipe

from dmri7t.cli.model import main
from dmri7t.errors import InputError
from dmri7t.io.opened import open_scan
from dmri7t.io.source import open_dataset
from dmri7t.models.bundle import check_bundle
from dmri7t.models.fitted import SplitRecord
from dmri7t.training.data import Item
from dmri7t.training.example import TrainingExample
from dmri7t.training.pairs import Cutting, common_shells, load_pairs, load_unpaired

SIZES = """
    --head-scale 0.4 --voxel-size 4 --voxel-size-7t 3.4 --directions 15 --b0s 2
""".split()
HOW = Cutting(patch=16, patches=4)


@pytest.fixture(scope="module")
def hcp(tmp_path_factory) -> Path:
    """Three subjects with both fields and shells at 1000 and 2000, two with 3T alone."""
    root = tmp_path_factory.mktemp("hcp")
    layout = [str(root), "--layout", "hcp", *SIZES]
    main(["simulate", *layout, "--subjects", "3", "--shells", "1000", "2000"])
    main(["simulate", *layout, "--subjects", "2", "--seed", "1", "--fields", "3"])
    return root


def paths(items: list[Item]) -> list[Path]:
    return [item.source for item in items]


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pool")


def test_shells_that_both_scans_have(hcp):
    scans = open_dataset(hcp).by_session("000000")
    with open_scan(scans["3T"].files) as low, open_scan(scans["7T"].files) as high:
        assert low.n_b0 == high.n_b0 == 2  # HCP's 7T b0s are b = 55 to 65
        assert [round(a.bval, -3) for a, _ in common_shells(low.shells, high.shells)] == [
            1000,
            2000,
        ]
        chosen = common_shells(low.shells, high.shells, [1000])
        assert [round(b.bval, -3) for _, b in chosen] == [1000]
        inside = np.asarray(nibabel.load(scans["3T"].mask).dataobj) > 0
        # the mask that lies beside the scan is the one that is used
        assert np.array_equal(low.brain.mask, inside & (low.b0 > 0))


def test_pairs_show_the_same_anatomy(hcp, pool):
    data = load_pairs(hcp, pool, HOW)
    training, validation, split = paths(data.training), paths(data.validation), data.split
    assert len(training) == 2 * 2 * 4 and len(validation) == 2 * 4  # subjects, shells, patches
    assert {p.parent.name for p in training} == set(split.training)
    assert {p.parent.name for p in validation} == set(split.validation)
    example = TrainingExample.load(training[0])
    assert example.ratio == pytest.approx(0.85)
    both = example.mask & (example.target[0] > 0)
    low, high = (a[0][both].astype(float) for a in (example.rish, example.target))
    assert np.corrcoef(low, high)[0, 1] > 0.5


def test_what_was_cut_is_used_again_unless_the_scan_changed(hcp, pool, tmp_path):
    copy = shutil.copytree(hcp, tmp_path / "hcp")
    first = paths(load_pairs(copy, tmp_path / "pool", HOW).training)
    times = {p: p.stat().st_mtime_ns for p in first}
    again = paths(load_pairs(copy, tmp_path / "pool", HOW).training)
    assert {p: p.stat().st_mtime_ns for p in again} == times
    # a subject whose cutting was killed is cut again, in the same places
    content = TrainingExample.load(first[0]).rish
    (first[0].parent / "cut.json").unlink()
    first[0].unlink()
    load_pairs(copy, tmp_path / "pool", HOW)
    assert np.array_equal(TrainingExample.load(first[0]).rish, content)
    (copy / first[0].parent.name / "T1w/Diffusion/bvals").touch()
    load_pairs(copy, tmp_path / "pool", HOW)
    changed = {p.parent.name for p in first if p.stat().st_mtime_ns != times[p]}
    assert changed == {first[0].parent.name}


def test_a_fold_is_never_opened(hcp, tmp_path):
    split = load_pairs(hcp, tmp_path, HOW, fold="1/3").split
    assert len(split.test) == 1
    assert {p.name for p in tmp_path.iterdir()} == {*split.training, *split.validation}


def test_unpaired_are_strangers_to_those_held_out(hcp, pool):
    split = SplitRecord(training=("000000",), validation=("000001",), test=("000002",))
    alone, labels = load_unpaired(hcp, pool / "alone", HOW, split)
    assert labels == ["001000", "001001"] and len(alone) == 2 * 4
    example = TrainingExample.load(alone[0])
    assert example.rish.shape == (3, 16, 16, 16) and example.target.size == 0
    families = {"001000": "x", "000002": "x", "001001": "y", "000000": "y"}
    assert load_unpaired(hcp, pool / "alone", HOW, split, families)[1] == ["001001"]


def test_from_hcps_folders_to_a_model(hcp, tmp_path):
    """The command of the documentation, but for a recipe of a test's size."""
    families = tmp_path / "participants.csv"
    families.write_text("Subject,Family_ID\n000000,a\n000001,a\n000002,b\n001000,b\n001001,c\n")
    recipe = write_recipe(tmp_path / "tiny.toml")
    out = tmp_path / "model"
    options = ["--shells", "1000", "--participants", families]
    printed = train_to_end(recipe, out, "--pairs", hcp, "--unpaired", hcp, *options)
    assert f"model written to {out}" in printed
    training = check_bundle(out).training
    # the two of family a stay together, and the smaller family is kept for validation
    assert training.split.training == ("000000", "000001")
    assert training.split.validation == ("000002",)
    # 001000 is of the family that is kept for validation
    assert training.split.unpaired == ("001001",)
    assert training.subjects == ("000000", "000001", "000002", "001001")
    assert training.source == f"pairs of {hcp.name}"
    begun = json.loads((out / "training/begun.json").read_text())
    assert begun["examples"] == [2 * 4, 4, 4]
    assert check_bundle(out).ranges["bval"][1] < 1100


def test_bids_pairs_and_lone_scans(tmp_path, capsys):
    main(["simulate", str(tmp_path / "bids"), "--subjects", "2", *SIZES])
    alone = ["--subjects", "1", "--seed", "2", "--fields", "3"]
    main(["simulate", str(tmp_path / "bids"), *alone, *SIZES])
    data = load_pairs(tmp_path / "bids", tmp_path / "pool", HOW)
    assert len(data.training) == len(data.validation) == 4
    assert "skipped, without both fields: sim002000" in capsys.readouterr().out
    _, labels = load_unpaired(tmp_path / "bids", tmp_path / "alone", HOW, data.split)
    assert labels == ["sim002000"]


def test_one_pair_is_too_few(hcp, tmp_path):
    for label in ("000000", "001000"):
        shutil.copytree(hcp / label, tmp_path / "few" / label)
    with pytest.raises(InputError, match="few: 1 subjects with both .*; training needs two"):
        load_pairs(tmp_path / "few", tmp_path / "pool", HOW)


def test_scans_smaller_than_a_patch_are_refused(hcp, tmp_path):
    with pytest.raises(InputError, match="no subject for training .* 40 voxels wide"):
        load_pairs(hcp, tmp_path, Cutting(patch=40))


def test_a_shell_that_nobody_has(hcp, tmp_path):
    with pytest.raises(InputError, match="share a b-value"):
        load_pairs(hcp, tmp_path, Cutting(shells=(3000.0,), patch=16))


def test_a_folder_of_neither_layout_is_one_line(tmp_path, capsys):
    recipe = write_recipe(tmp_path / "tiny.toml")
    with pytest.raises(SystemExit, match="2"):
        main(["train", str(recipe), str(tmp_path / "out"), "--pairs", str(tmp_path)])
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and f"{tmp_path}: no participant's folder" in message


def test_options_of_own_scans_without_them(tmp_path, capsys):
    recipe = write_recipe(tmp_path / "tiny.toml")
    with pytest.raises(SystemExit, match="2"):
        main(["train", str(recipe), str(tmp_path / "out"), "--fold", "1/10"])
    assert "--fold: goes with --pairs or --scans" in capsys.readouterr().err
