"""The table and the page of a group: every metric from its file, nothing left out in silence."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from reports.group_data import write_results
from reports.reading import read_page

from dmri7t.errors import InputError
from dmri7t.reports.group.columns import COLUMNS
from dmri7t.reports.group.gather import gather_group
from dmri7t.reports.group.outliers import FEWEST, find_outliers
from dmri7t.reports.group.scans import read_scan
from dmri7t.reports.group.strips import Dot, Strip, draw
from dmri7t.reports.group.write import group_dictionary, write_group

LABELS = [f"{i:02d}" for i in range(14)]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Twelve like scans, one of which has no brain; one of another protocol; a failed participant
    and a missing one."""
    out = tmp_path_factory.mktemp("many")
    for i, label in enumerate(LABELS[:12]):
        volume = 1400.0 + 10 * (i % 5) - 1200 * (i == 7)
        write_results(out, f"sub-{label}_ses-a_dir-AP", mask_volume_ml=volume, fa=0.3 + i / 1000)
    outside = ["voxel size 4 mm lies outside the range of training (1 to 3)."]
    write_results(out, "sub-00_ses-b", voxel=4.0, flagged=True, outside_training=outside)
    (out / "logs").mkdir()
    failure = {"node": "dwi_wf.prepare", "reason": "x.nii is <cut> short", "crash_file": ""}
    (out / "logs/sub-12_status.json").write_text(json.dumps({"failures": [failure]}))
    group = gather_group(out, LABELS, threads=2)
    return out, group, write_group(group, out, "dmri7t in out group")


def rows_of(path):
    with open(path, newline="") as file:
        return {row["bids_name"]: row for row in csv.DictReader(file, delimiter="\t")}


def test_row_holds_what_the_files_say(many):
    rows = rows_of(many[2][0])
    assert len(rows) == 13
    row = rows["sub-03_ses-a_dir-AP_dwi"]
    assert row["participant_id"] == "sub-03" and row["session_id"] == "ses-a"
    assert row["protocol"] == "2.0 mm, b1000 (32), b5000"
    numbers = {
        "n_b0": 2,
        "n_directions": 32,
        "n_translated": 1,
        "n_interpolated": 1,
        "voxel_size_in": 2.0,
        "voxel_size_out": 1.68,
        "snr": 20,
        "error": 0.8,
        "error_filter": 0.85,
        "nmse": 0.02,
        "beyond_r2": 0.1,
        "bounded_r4": 0.3,
        "novelty": 0.5,
        "mask_volume": 1430,
        "input_negative": 3,
        # the map runs evenly from 0.2 below to 0.2 above, in the mask; 9 outside
        "fa_median": 0.303,
        "fa_iqr": 0.2,
        "md_median": 0.303e-3,
        "md_iqr": 0.2e-3,
        "fa_median_native": 0.353,
        "md_median_native": 0.353e-3,
    }
    for name, value in numbers.items():
        assert float(row[name]) == pytest.approx(value, rel=1e-4), name
    assert row["beyond_r4"] == "n/a"  # order 4 was not fitted
    assert row["flagged"] == "false" and rows["sub-00_ses-b_dwi"]["flagged"] == "true"


def test_several_shells_give_the_value_that_calls_for_a_look(tmp_path):
    record = write_results(tmp_path, "sub-01")
    content = json.loads(record.read_text())
    worse = json.loads(json.dumps(content["shells"][0])) | {"name": "b2000", "bval": 2000.0}
    worse |= {"n_directions": 12, "bounded": [0.0, 0.5, 0.1]}
    worse["novelty"] |= {"score": 2.5}
    worse["evidence"] = {"reason": "too few directions"}
    content["shells"].append(worse)
    record.write_text(json.dumps(content))
    values = read_scan(record).values
    assert values["bounded_r2"] == 0.5 and values["bounded_r4"] == 0.3
    assert values["novelty"] == 2.5 and values["n_directions"] == 12
    assert values["error"] == 0.8


def test_results_of_a_version_without_maps_of_the_input_have_a_row(tmp_path):
    record = write_results(tmp_path, "sub-01")
    for path in record.parent.glob("*model-tensor*desc-native*"):
        path.unlink()
    content = json.loads(record.read_text())
    del content["shells"][0]["evidence"]
    record.write_text(json.dumps(content))
    values = read_scan(record).values
    assert values["fa_median_native"] is None and values["error"] is None
    assert values["fa_median"] == pytest.approx(0.3, rel=1e-3)


def test_dictionary_describes_every_column(many):
    out, _, _ = many
    described = json.loads((out / "group_dwi.json").read_text())
    (header, *_) = (out / "group_dwi.tsv").read_text().splitlines()
    assert set(header.split("\t")) == set(described) - {"GeneratedBy"}
    assert all(described[c.name]["Description"].endswith(".") for c in COLUMNS)
    assert described["md_median"]["Units"] == "mm^2/s" and described["mask_volume"]["Units"] == "mL"
    assert group_dictionary() == described


def test_page_names_outliers_failures_and_missing(many):
    text, reader = read_page(many[2][2])
    assert "13 scans of 12 participants" in text
    assert "sub-12 : dwi_wf.prepare: x.nii is <cut> short" in text
    assert "without results here sub-13." in text
    stand_out = text[text.index("Scans that stand out Scan Metric") : text.index("The rule:")]
    assert "sub-07_ses-a_dir-AP" in stand_out and "Brain mask" in stand_out
    # FA rises evenly: nothing of it stands out; the scan of another protocol is not judged
    assert "FA" not in stand_out and "sub-00_ses-b" not in stand_out
    assert "too few scans (1; the rule needs 10)" in text
    assert "Voxel size 4 mm lies outside" in text
    assert "not the whole data set" not in text


def test_pictures_of_all_who_have_them(tmp_path):
    """Before and after side by side, with a link; who has none, or half, is named without."""
    for label in ("01", "02", "03"):
        write_results(tmp_path, f"sub-{label}", flagged=label == "02")
    for label, sides in (
        ("01", ("before", "after")),
        ("02", ("before", "after")),
        ("03", ("after",)),
    ):
        folder = tmp_path / f"sub-{label}/figures"
        folder.mkdir()
        for side in sides:
            (folder / f"sub-{label}_thumbnail_{side}.jpg").write_bytes(b"x")
    group = gather_group(tmp_path, ["01", "02", "03"])
    page = write_group(group, tmp_path)[2]
    text, reader = read_page(page)
    pictures = [t for t in reader.targets if t.endswith(".jpg")]
    assert pictures == [
        f"sub-{label}/figures/sub-{label}_thumbnail_{side}.jpg"
        for label in ("01", "02")
        for side in ("before", "after")
    ]
    assert text.count("no picture of FA") == 1
    assert page.read_text().count('class="odd">') == 1


def test_page_links_to_scans_and_needs_nothing_from_elsewhere(many):
    out, group, files = many
    _, reader = read_page(files[2])
    assert not reader.tags & {"script", "link", "iframe", "object", "image"}
    assert "url(" not in files[2].read_text() and "@import" not in files[2].read_text()
    for target in reader.targets:
        page, _, anchor = target.partition("#")
        assert not page or (out / page).is_file()
        assert anchor in (reader.ids if not page else _anchors(out, page)), target
    plotted = [c for c in COLUMNS if c.title]
    # in every plot each scan is a link, and in tables once more
    linked = reader.targets.count("sub-05.html#sub-05_ses-a_dir-AP")
    with_value = [c for c in plotted if group.scans[5].values[c.name] is not None]
    assert linked == len(with_value) + 1


def _anchors(out, page):
    label = page.removesuffix(".html")
    return {p.name.split("_desc-")[0] for p in out.glob(f"{label}/*/dwi/*_desc-quality_dwi.json")}


def test_scan_that_was_not_compared_is_not_called_within(tmp_path):
    write_results(tmp_path, "sub-01")
    write_results(tmp_path, "sub-02", compared=False)
    text, _ = read_page(write_group(gather_group(tmp_path, ["01", "02"]), tmp_path)[2])
    table = text[text.index("Distance from training") : text.index("All columns are in")]
    assert table.count("within") == 1 and table.count("not compared") == 1


def test_choice_of_participants_and_sessions_is_said(many, tmp_path):
    out, _, _ = many
    group = gather_group(out, ["00"], ["b"], restricted=True)
    assert [scan.stem for scan in group.scans] == ["sub-00_ses-b"]
    files = write_group(group, tmp_path)
    text, _ = read_page(files[2])
    assert "not the whole data set" in text and "Too few scans to tell" in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ModelVersion": "2"}, "More than one model: m 1 (abababababab) in 1 scan; m 2"),
        ({"SoftwareVersion": "2.0"}, "More than one version of dmri7t: 1.0 in 1 scan; 2.0 in 1"),
        ({"SettingsSHA256": "x", "setting_random_seed": 5}, "different random_seed: 0 in 1 scan;"),
        ({"SettingsSHA256": "x", "setting_shells": [1]}, 'different shells: "not set" in 1 scan;'),
    ],
)
def test_mixed_results_are_named(tmp_path, changes, sentence):
    write_results(tmp_path, "sub-01")
    write_results(tmp_path, "sub-02", setting_device="cuda")
    assert gather_group(tmp_path, ["01", "02"]).mixed == ()
    write_results(tmp_path, "sub-02", **changes)
    group = gather_group(tmp_path, ["01", "02"])
    assert len(group.mixed) == 1 and sentence in group.mixed[0]
    text, _ = read_page(write_group(group, tmp_path)[2])
    assert sentence in text


def test_broken_results_are_named_and_stop_nobody(tmp_path):
    for label in ("01", "02", "03", "04"):
        write_results(tmp_path, f"sub-{label}", page=label != "04")
    (tmp_path / "sub-02/dwi/sub-02_desc-quality_dwi.json").write_text("{")
    fa = next((tmp_path / "sub-03/dwi").glob("*param-fa*"))
    fa.write_bytes(fa.read_bytes()[:60])
    group = gather_group(tmp_path, ["01", "02", "03", "04"])
    assert [scan.label for scan in group.scans] == ["01", "04"]
    assert [sentence[:6] for sentence in group.broken] == ["sub-02", "sub-03"]
    assert group.unreported == ("04",) and group.missing == ()
    text, _ = read_page(write_group(group, tmp_path)[2])
    assert "sub-02: its results cannot be read" in text and "sub-04: has results, but no" in text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("desc-quality_dwi.json", b"{}", "quality_dwi.json: KeyError: 'shells'"),
        ("desc-quality_dwi.json", b'{"shells": 3}', "quality_dwi.json: TypeError"),
        ("desc-7Tlike_settings.toml", b"x = = 1", "settings.toml: not readable as TOML"),
        (
            "model-tensor_param-fa_desc-7Tlike_dwimap.nii.gz",
            b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 60,
            "fa_desc-7Tlike_dwimap.nii.gz",
        ),
    ],
)
def test_the_file_is_named_that_is_not_as_it_was_written(tmp_path, name, content, said):
    for label in ("01", "02"):
        write_results(tmp_path, f"sub-{label}")
    (tmp_path / f"sub-02/dwi/sub-02_{name}").write_bytes(content)
    group = gather_group(tmp_path, ["01", "02"])
    assert [scan.label for scan in group.scans] == ["01"]
    (sentence,) = group.broken
    assert sentence.startswith("sub-02: its results cannot be read") and said in sentence


def test_scan_that_was_not_finished_is_no_result(tmp_path):
    record = write_results(tmp_path, "sub-01")
    next(record.parent.glob("*_desc-7Tlike_dwi.nii.gz")).unlink()
    with pytest.raises(InputError, match="no results of sub-01 .*7T-like scan is missing"):
        gather_group(tmp_path, ["01"])


@pytest.mark.parametrize("stem", ["sub-01", "sub-01_space-ACPC"])
def test_results_in_qsipreps_layout_are_found(tmp_path, stem):
    record = write_results(tmp_path, "sub-01")
    for key, kind in (("desc-7Tlike_dwi", "desc-preproc_dwi"), ("desc-brain_mask",) * 2):
        old = record.with_name(f"sub-01_{key}.nii.gz")
        old.rename(old.with_name(f"{stem}_{kind}.nii.gz"))
    (scan,) = gather_group(tmp_path, ["01"]).scans
    assert scan.stem == "sub-01" and scan.values["fa_median"] == pytest.approx(0.3)


def test_nothing_to_gather_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no results of sub-01, sub-02; run the level"):
        gather_group(tmp_path, ["01", "02"])


def test_rule_is_the_modified_z_score():
    values = np.array([3.0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 100])
    outliers = find_outliers(list(values))
    middle = np.median(values)
    mad = np.median(abs(values - middle))
    assert outliers.scores == {11: round(0.6745 * (100 - middle) / mad, 1)} and not outliers.reason
    # one odd scan cannot hide another, as it would with mean and standard deviation
    assert set(find_outliers([*values, 101.0, -90.0]).scores) == {11, 12, 13}


def test_rule_is_not_used_where_it_cannot_tell():
    assert "too few" in find_outliers([1.0] * (FEWEST - 1) + [None] * 5).reason
    same = find_outliers([1.0] * 8 + [2.0, 3.0])
    assert "same value" in same.reason and not same.scores


def test_skewed_values_are_not_all_odd():
    rng = np.random.default_rng(0)
    parts = rng.beta(2, 20, (200, 40))
    plain, roots = (
        np.mean([len(find_outliers(list(p), skewed).scores) for p in parts])
        for skewed in (False, True)
    )
    assert roots < 0.35 < plain
    assert 40 in find_outliers([*parts[0], 0.9], skewed=True).scores


def test_dots_lie_at_their_values_and_apart():
    dots = tuple(
        Dot(v, f"sub-{i}", f"p{i}.html", v > 5) for i, v in enumerate([1.0, 1.0, 2.0, 9.0])
    )
    drawing = draw([Strip("", dots)], "x & y")
    import xml.etree.ElementTree as tree

    root = tree.fromstring(drawing)
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter("circle")]
    assert len(set(circles)) == 4
    xs = sorted(x for x, _ in circles)
    assert (xs[2] - xs[0]) / (xs[3] - xs[0]) == pytest.approx(1 / 8, abs=0.01)
    ticks = {t.text: float(t.get("x")) for t in root.iter("text") if t.get("class") == "tick"}
    assert ticks["2"] == xs[2]
    (name,) = (t.text for t in root.iter("text") if "name" in t.get("class"))
    assert name == "sub-3" and "sub-3: 9 (stands out)" in drawing


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [-1e-9, 1e-9], [1e-5, 3e5], [0.0] * 900])
def test_strips_of_odd_values_stay_within_their_frame(values):
    import re

    drawing = draw([Strip("", tuple(Dot(v, "s", "p") for v in values))], "")
    width, height = map(float, re.search(r'viewBox="0 0 (\S+) ([^"]+)"', drawing).groups())
    for x, y in re.findall(r'cx="([^"]+)" cy="([^"]+)"', drawing):
        assert 0 <= float(x) <= width and 0 <= float(y) <= height
