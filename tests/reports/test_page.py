"""The page of a participant is whole, true and needs nothing from elsewhere."""

from __future__ import annotations

import re

import numpy as np
import pytest
from attrs import evolve
from PIL import Image
from reports.reading import read_page
from safetensors.numpy import load_file, save_file

from dmri7t.reports import (
    MapFile,
    ModelCard,
    ModelMetrics,
    NodeTime,
    QualityRecord,
    read_node_times,
    write_report,
)
from dmri7t.reports.boilerplate import methods_text
from dmri7t.reports.quality import ErrorForecast
from dmri7t.reports.times import run_times


@pytest.fixture
def page(participant, tmp_path):
    """Page of the participant, and all files that were written."""
    files = write_report(participant, tmp_path)
    return files[0], files


def test_files_are_whole_and_named(page, tmp_path):
    path, files = page
    assert path == tmp_path / "sub-01.html"
    on_disk = {p for p in tmp_path.rglob("*") if p.is_file()}
    assert on_disk == set(files)  # nothing temporary is left
    names = {p.name for p in files[1:]}
    for stem in ("b0", "b1000_r0", "b1000_r2", "b1000_r4", "fa", "colour-fa"):
        assert {f"sub-01_{stem}_{c}.jpg" for c in ("before", "after", "difference")} <= names
    assert {f"sub-01_directions_{c}.jpg" for c in ("before", "after")} <= names
    assert {f"sub-01_b1000_uncertainty_r{order}.jpg" for order in (0, 2, 4)} <= names
    assert "sub-01_b1000_cone_cone.jpg" in names
    assert {f"sub-01_b1000_departure_r{order}.jpg" for order in (0, 2, 4)} <= names
    assert all(p.parent == tmp_path / "sub-01" / "figures" for p in files[1:])


def test_no_figure_is_blank(page):
    for path in (p for p in page[1][1:] if p.suffix == ".jpg" and "thumbnail" not in p.name):
        picture = np.asarray(Image.open(path).convert("RGB"))
        assert picture.shape[1] >= 1400
        # the slices, without title and colour bar
        planes = picture[60:].max(-1)
        assert 0.001 < (planes > 40).mean() < 0.95, path.name
        assert (picture[-4:, :4] < 8).all()  # black ground


def test_before_and_after_lie_on_each_other(page, tmp_path):
    folder = tmp_path / "sub-01" / "figures"
    for stem in ("b0", "b1000_r2", "fa", "colour-fa"):
        pair = [Image.open(folder / f"sub-01_{stem}_{c}.jpg") for c in ("before", "after")]
        assert pair[0].size == pair[1].size
        grey = [np.asarray(p.convert("L"), float)[60:] for p in pair]
        assert np.corrcoef(grey[0].ravel(), grey[1].ravel())[0, 1] > 0.9


def test_same_field_leaves_no_difference(page, tmp_path):
    """R2 is a linear field here, so the difference is 0, and black, but at the mask's rim."""
    picture = Image.open(tmp_path / "sub-01" / "figures" / "sub-01_b1000_r2_difference.jpg")
    bright = np.asarray(picture.convert("L"))[60:]
    assert (bright > 60).mean() < 0.06


def test_nothing_is_loaded_from_elsewhere(page, tmp_path):
    text = page[0].read_text("utf-8")
    _, reader = read_page(page[0])
    assert not reader.tags & {"script", "link", "iframe", "object"}
    assert "@import" not in text
    assert "url(" not in text
    for target in reader.targets:
        if target.startswith("#"):
            assert target[1:] in reader.ids
        else:
            assert not re.match(r"[a-z]+:|//", target)
            assert (tmp_path / target).is_file()
    assert len(reader.ids) == len(set(reader.ids))
    assert page[0].stat().st_size < 200_000
    assert sum(p.stat().st_size for p in page[1] if p.suffix == ".jpg") < 6e6


def test_numbers_and_words_appear(page):
    text, _ = read_page(page[0])
    for words in (
        "0.0177",  # NMSE of all
        "23.4",  # SNR
        "0.00123",
        "31 %",  # bounded R4
        "b1000: noise makes magnitudes of weak signals too large, up to 15.7 in units",
        "12,345 values of the output above the b0, or below what free water leaves of it",
        "7 negative values of the input",
        "1234 ml",
        "through the model",
        "interpolated only",
        "Interpolated only, without the model: b3000 (not named by --shells).",
        "b1000: resampled to the input's grid, the output differs from the measurement by "
        "more than its noise explains in 0.4 % (R0), 12 % (R2) and 0 % (R4) of the brain.",
        "0.00171 0.0272 0.473 0.00161 0.0262 0.463 0.4 % 12 % 0 %",
        "Departure from the input, b1000",
        "Nothing unusual was found, but the model cannot compare scans with its training data",
        "R0, R2 and R4 are how strong each is",
        "how far water moves on average",
        "Open the viewer",
        "pause all flickering",
        "In 31 % of the voxels of b1000 the change of order 4 was held at its bound",
        "2.5 mm → 2.1 mm",
        "ab12" * 16,
        "SIMULATED PAIRS",
        "The result is synthetic and not for diagnosis.",
        "dmri7t does not correct motion, eddy currents or susceptibility distortion",
        "It was used as it is. dmri7t does not correct motion, eddy currents",
        "Radiological convention",
        "0.0135 ± 0.0020",
        "12 simulated test subjects",
        "dmri7t in out participant --participant-label 01",
        "sampler_steps = 5",
        "2 min 30 s",
        "from an earlier run",
        "1 more below 0.1 s",
        "dmri7t 9.8.7",
        "@article{tournier2019",
        "arXiv:2408.12897",
        "700 to 3000 s/mm²",
        "the table fits",
    ):
        assert words in text, words
    assert "were not finite" not in text  # there were none of these
    assert "Outside what the model was trained on" not in text


def test_warning_where_the_model_was_not_trained(participant, make_scan_report, tmp_path):
    quality = make_scan_report().quality
    sentence = "b-value 3000 s/mm2 lies outside the range of training (700 to 2000)."
    scan = make_scan_report(quality=evolve(quality, outside_training=(sentence,)))
    text, _ = read_page(write_report(evolve(participant, scans=(scan,)), tmp_path)[0])
    assert "Look here first: outside what the model was trained on." in text
    assert text.count(sentence) == 1


def test_scan_within_its_noise_is_said_to_agree(participant, make_scan_report, tmp_path):
    quality = make_scan_report().quality
    within = evolve(quality.shells[0], beyond=(0.001, 0.002))
    scan = make_scan_report(quality=evolve(quality, shells=(within,)))
    report = evolve(participant, scans=(scan,), skipped=("sub-01_run-2_dwi.bvec: missing; add it",))
    text, _ = read_page(write_report(report, tmp_path)[0])
    agrees = "agrees with the measurement within its noise, except in 0.1 % (R0) and 0.2 % (R2) of"
    assert agrees in text
    assert "Scans of this participant that could not be used" in text
    assert "sub-01_run-2_dwi.bvec: missing; add it" in text


def test_warning_where_gradients_do_not_fit(participant, make_scan_report, tmp_path):
    scan = make_scan_report()
    tensors = load_file(scan.before.fa.path)
    tensors["direction"] = tensors["direction"] * np.array([-1, 1, 1], np.float32)
    save_file(tensors, tmp_path / "flipped.safetensors")
    direction = MapFile(tmp_path / "flipped.safetensors", "direction")
    scan = evolve(scan, before=evolve(scan.before, direction=direction))
    text, _ = read_page(write_report(evolve(participant, scans=(scan,)), tmp_path / "out")[0])
    assert "Look here first: the gradient table may not fit the image." in text
    assert "the table may be wrong" in text


def test_two_scans(participant, make_scan_report, tmp_path):
    scans = (
        make_scan_report("sub-01_dir-AP", workflow="dir_AP_wf"),
        make_scan_report(
            "sub-01_dir-PA",
            "oblique",
            1,
            workflow="dir_PA_wf",
            methods="Other.\n\nAs in [Zhu et al. 2024].",
        ),
    )
    nodes = tuple(
        evolve(n, name=f"dir_{d}_wf.{n.name}") for d in ("AP", "PA") for n in participant.nodes
    )
    files = write_report(evolve(participant, scans=scans, nodes=nodes), tmp_path)
    text, reader = read_page(files[0])
    assert "2 scans" in text
    assert {f"sub-01_dir-{d}{part}" for d in ("AP", "PA") for part in ("", "-b1000_r4")} <= set(
        reader.ids
    )
    # one sample has no spread
    assert "sub-01_dir-AP-b1000_uncertainty" in reader.ids
    assert "sub-01_dir-PA-b1000_uncertainty" not in reader.ids
    assert not [p for p in files if "dir-PA_b1000_uncertainty" in p.name]
    assert len({p.name for p in files}) == len(files)
    # what both scans share is said once, the rest names its scan
    assert text.count("As in [Zhu et al. 2024].") == 1
    assert "(sub-01_dir-PA) Other." in text
    times = text[text.index("Run time by node") :]
    assert times.index("sub-01_dir-AP") < times.index("sub-01_dir-PA")


def test_nodes_of_all_scans_stand_apart():
    """What ran for the participant as a whole is not listed under the last scan."""
    nodes = (NodeTime("a_wf.fit", 3.0), NodeTime("b_wf.fit", 3.0), NodeTime("report", 2.0))
    groups = run_times(nodes, {"a_wf": "scan a", "b_wf": "scan b"}).groups
    assert [g.title for g in groups] == ["scan a", "scan b", "Whole participant"]
    assert [r.name for r in groups[-1].rows] == ["report"]


def test_numbers_can_be_read(participant, make_scan_report, tmp_path):
    """Long numbers as they stand in a model's record."""
    nmse = {"R4": (305.77844, 710.47989), "FA": (0.05904, 0.09954), "MD": (0.00321, None)}
    card = evolve(
        participant.model,
        ranges={"bval": (517.742, 3040.085), "voxel_size_mm": (1.018, 4.783)},
        metrics=ModelMetrics(20, {"interpolation": nmse, "default": nmse}),
    )
    report = evolve(participant, model=card, scans=(make_scan_report(),))
    text, _ = read_page(write_report(report, tmp_path)[0])
    assert "± 0.0995 0.0032 this model" in text
    for words in ("306 ± 710", "0.0590 ± 0.0995", "518 to 3040 s/mm²", "1.02 to 4.78 mm"):
        assert words in text, words


def test_two_shells_have_their_own_maps(participant, make_scan_report, tmp_path):
    scan = make_scan_report()
    first = scan.quality.shells[0]
    shells = (first, evolve(first, name="b2000", bval=2000.0))
    scan = evolve(
        scan,
        before=evolve(scan.before, rish=scan.before.rish * 2),
        after=evolve(
            scan.after,
            rish=scan.after.rish * 2,
            spread=((), *scan.after.spread),
            cones=(None, *scan.after.cones),
        ),
        quality=evolve(scan.quality, shells=shells),
    )
    files = write_report(evolve(participant, scans=(scan,)), tmp_path)
    names = {p.name for p in files}
    assert {f"sub-01_{b}_r4_after.jpg" for b in ("b1000", "b2000")} <= names
    # the first shell has no samples
    assert "sub-01_b2000_uncertainty_r0.jpg" in names
    assert "sub-01_b1000_uncertainty_r0.jpg" not in names
    # its model was not calibrated for directions
    assert "sub-01_b2000_cone_cone.jpg" in names and "sub-01_b1000_cone_cone.jpg" not in names
    text, reader = read_page(files[0])
    assert "R2, b1000" in text and "R2, b2000" in text
    assert len(reader.ids) == len(set(reader.ids))


def test_what_was_not_measured_is_left_out(participant, make_scan_report, tmp_path):
    """Too few directions for order 4: no picture before, no difference, and the page says why."""
    scan = make_scan_report()
    np.save(tmp_path / "zeros.npy", np.zeros_like(load_file(scan.before.rish[0][0].path)["rish"]))
    rows = (*scan.before.rish[0][:2], MapFile(tmp_path / "zeros.npy", row=2))
    scan = evolve(scan, before=evolve(scan.before, rish=(rows,), fa=None, direction=None))
    files = write_report(evolve(participant, scans=(scan,)), tmp_path / "out")
    names = {p.name for p in files}
    assert "sub-01_b1000_r4_after.jpg" in names
    assert not names & {"sub-01_b1000_r4_before.jpg", "sub-01_b1000_r4_difference.jpg"}
    assert not [n for n in names if "fa_" in n or "directions" in n]
    text, _ = read_page(files[0])
    assert "too few directions to measure it" in text


def test_text_is_escaped(participant, make_scan_report, tmp_path):
    bad = "<script>alert('x')</script> & <b>"
    scan = make_scan_report(methods=bad, source=bad)
    card = evolve(participant.model, name=bad, description=bad, trained_on=bad)
    report = evolve(participant, scans=(scan,), model=card, command=bad, settings=bad)
    path = write_report(report, tmp_path)[0]
    text, reader = read_page(path)
    assert "script" not in reader.tags
    assert text.count(bad) >= 6


def test_little_is_enough(participant, make_scan_report, tmp_path):
    """Nothing is made up for what is not known."""
    scan = make_scan_report(methods="", source="")
    scan = evolve(scan, after=evolve(scan.after, cones=()))
    card = ModelCard("other", "0", "ff")
    report = evolve(
        participant, scans=(scan,), model=card, command="", settings="", nodes=(), versions={}
    )
    text, _ = read_page(write_report(report, tmp_path)[0])
    assert "Run time by node" not in text
    assert "Command" not in text
    assert "Software" not in text
    assert "own record" not in text
    assert "simulated" not in text.lower()
    assert "The model does not say." in text


def test_methods_name_the_software(participant):
    text = methods_text([(s.stem, s.methods) for s in participant.scans], participant.versions)
    assert text.endswith("in dmri7t 9.8.7, with Nipype 1.11.0 [Gorgolewski et al. 2011].")
    assert "MONAI" not in text


def test_a_second_report_replaces_the_first(participant, tmp_path):
    first = write_report(participant, tmp_path)
    before = {p: p.read_bytes() for p in first}
    assert write_report(participant, tmp_path) == first
    assert {p: p.read_bytes() for p in first} == before


def test_records_that_cannot_be_read(tmp_path):
    from dmri7t.errors import InputError

    path = tmp_path / "broken.json"
    path.write_text('{"nodes": 3')
    for read in (QualityRecord.read, read_node_times):
        with pytest.raises(InputError, match=r"broken\.json"):
            read(path)


def test_forecast_that_speaks_against_the_model_stands_out(participant, tmp_path):
    scan = participant.scans[0]
    shell, other = scan.quality.shells
    expected = {"R0": ErrorForecast(0.8, 0.5, 1.2), "FA": ErrorForecast(1.2, 0.5, 1.9)}
    changed = evolve(
        scan, quality=evolve(scan.quality, shells=(evolve(shell, expected=expected), other))
    )
    page = write_report(evolve(participant, scans=(changed,)), tmp_path)[0]
    text, _ = read_page(page)
    assert "the error of FA was 20 % above that of interpolation" in text
    assert "8 of 10: 50 % below to 90 % above" in text
    assert page.read_text().count('class="n odd"') == 1
