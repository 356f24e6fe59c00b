"""The page of a participant is whole, true and needs nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess

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
from dmri7t.reports.quality import ErrorForecast, NoveltyScore
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
        assert {f"sub-01_{stem}_{c}.png" for c in ("before", "after", "difference")} <= names
    assert {f"sub-01_directions_{c}.png" for c in ("before", "after")} <= names
    assert {f"sub-01_b1000_uncertainty_r{order}.png" for order in (0, 2, 4)} <= names
    assert {f"sub-01_b1000_departure_r{order}.png" for order in (0, 2, 4)} <= names
    assert all(p.parent == tmp_path / "sub-01" / "figures" for p in files[1:])


def test_no_figure_is_blank(page):
    for path in page[1][1:]:
        picture = np.asarray(Image.open(path).convert("RGB"))
        assert picture.shape[1] == 540
        # the rows of the three planes, without title and colour bar
        planes = picture[60 : int(picture.shape[0] * 0.9)].max(-1)
        assert 0.001 < (planes > 40).mean() < 0.95, path.name
        corner = picture[-4:, :4]
        assert (corner == 0).all()  # black ground


def test_before_and_after_lie_on_each_other(page, tmp_path):
    folder = tmp_path / "sub-01" / "figures"
    for stem in ("b0", "b1000_r2", "fa", "colour-fa"):
        pair = [Image.open(folder / f"sub-01_{stem}_{c}.png") for c in ("before", "after")]
        assert pair[0].size == pair[1].size
        grey = [np.asarray(p.convert("L"), float)[60:-90] for p in pair]
        assert np.corrcoef(grey[0].ravel(), grey[1].ravel())[0, 1] > 0.9


def test_same_field_leaves_no_difference(page, tmp_path):
    """R2 is a linear field here, so the difference is 0, and black, but at the mask's rim."""
    picture = Image.open(tmp_path / "sub-01" / "figures" / "sub-01_b1000_r2_difference.png")
    bright = np.asarray(picture.convert("L"))[60:-90]
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
    assert sum(p.stat().st_size for p in page[1]) < 6e6


def test_numbers_and_words_appear(page):
    text, _ = read_page(page[0])
    for words in (
        "0.0177",  # NMSE of all
        "23.4",  # SNR
        "0.00123",
        "31 %",  # bounded R4
        "12,345 negative values of the output",
        "7 negative values of the input",
        "1234 ml",
        "through the model",
        "interpolated only",
        "Interpolated only, without the model: b3000 (not named by --shells).",
        "b1000: resampled to the input's grid, the output differs from the measurement by "
        "more than its noise explains in 0.4 % (R0), 12 % (R2) and 0 % (R4) of the brain.",
        "0.00171 0.0272 0.473 0.00161 0.0262 0.463 0.4 % 12 % 0 %",
        "Departure from the input, b1000",
        "In 31 % of the voxels of b1000 the change of order 4 was held at its bound",
        "2.5 → 2.1",
        "ab12" * 16,
        "SIMULATED PAIRS",
        "It is synthetic.",
        "It is not for diagnosis",
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
    assert text.count("Outside what the model was trained on") == 2  # on top, and at the scan
    assert text.count(sentence) == 2


def test_comparison_with_training_is_described_and_drawn(participant, make_scan_report, tmp_path):
    scan = make_scan_report()
    text, _ = read_page(write_report(participant, tmp_path / "none")[0])
    assert "b1000 was not compared with the training data" in text
    strange = NoveltyScore(score=1.64, volume_ml=7.25, flagged=True)
    like = evolve(strange, score=0.5, flagged=False)
    n_voxels = load_file(scan.before.departure[0][0].path)["0"].shape[1]
    values = np.linspace(0, 2, n_voxels, dtype=np.float32)
    save_file({"map": values}, tmp_path / "novelty.safetensors")
    for novelty, words in (
        (strange, "b1000 reaches 1.64 times the threshold; 7.2 ml of the brain lie above it."),
        (like, "stays below the threshold everywhere (0.50"),
    ):
        shells = (evolve(scan.quality.shells[0], novelty=novelty), scan.quality.shells[1])
        changed = evolve(
            scan,
            quality=evolve(scan.quality, shells=shells),
            before=evolve(scan.before, novelty=(MapFile(tmp_path / "novelty.safetensors", "map"),)),
        )
        files = write_report(evolve(participant, scans=(changed,)), tmp_path / str(novelty.score))
        assert words in read_page(files[0])[0]
        (picture,) = (p for p in files if p.name == "sub-01_b1000_novelty_map.png")
        assert np.asarray(Image.open(picture).convert("L")).max() > 200


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
    assert "The gradient table may not fit the image" in text
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
        after=evolve(scan.after, rish=scan.after.rish * 2, spread=((), *scan.after.spread)),
        quality=evolve(scan.quality, shells=shells),
    )
    files = write_report(evolve(participant, scans=(scan,)), tmp_path)
    names = {p.name for p in files}
    assert {f"sub-01_{b}_r4_after.png" for b in ("b1000", "b2000")} <= names
    # the first shell has no samples
    assert "sub-01_b2000_uncertainty_r0.png" in names
    assert "sub-01_b1000_uncertainty_r0.png" not in names
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
    assert "sub-01_b1000_r4_after.png" in names
    assert not names & {"sub-01_b1000_r4_before.png", "sub-01_b1000_r4_difference.png"}
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


PROBE = """
<script>addEventListener("load", () => {
  const images = [...document.images];
  document.title = JSON.stringify({
    images: images.length,
    loaded: images.filter(i => i.complete && i.naturalWidth > 0).length,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    height: document.documentElement.scrollHeight,
  });
});</script>
"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 600])
def test_in_a_browser(page, tmp_path, width):
    """Every picture loads from the disk without network, and nothing sticks out."""
    import json

    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium: the page was not looked at in a browser")
    probe = tmp_path / "probe.html"
    probe.write_text(page[0].read_text("utf-8").replace("</body>", PROBE + "</body>"), "utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900"]
    offline = ["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    dom = subprocess.run(
        [*command, *offline, profile, "--dump-dom", probe.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    seen = json.loads(re.search(r"<title>(.*?)</title>", dom).group(1).replace("&quot;", '"'))
    assert seen["images"] == seen["loaded"] >= 23
    assert seen["wide"] <= 0
    assert seen["height"] > 3000


def test_what_could_not_be_compared_or_gains_nothing_is_said(participant, tmp_path):
    """No warning must not read as no cause for one; a forecast above 1 speaks against the model."""
    scan = participant.scans[0]
    shell, other = scan.quality.shells
    expected = {"R0": ErrorForecast(0.8, 0.5, 1.2), "FA": ErrorForecast(1.2, 0.5, 1.9)}
    for novelty in (None, NoveltyScore(score=0.4, volume_ml=0.0, flagged=False)):
        shells = (evolve(shell, novelty=novelty, expected=expected), other)
        changed = evolve(scan, quality=evolve(scan.quality, shells=shells))
        page = write_report(evolve(participant, scans=(changed,)), tmp_path)[0]
        text, _ = read_page(page)
        assert ("Not compared with the training data: sub-01 (b1000)." in text) == (not novelty)
        assert page.read_text().count('class="n odd"') == 1
