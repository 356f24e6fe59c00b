"""Pages as a reader sees them: opened from the disk by a browser, without a network."""

from __future__ import annotations

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from PIL import Image

from dmri7t.reports import write_report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: no page was looked at in a browser"),
]


@pytest.fixture
def folder(participant, tmp_path):
    """A participant's report on disk."""
    write_report(participant, tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("width", [1280, 600])
def test_report(folder, tmp_path, width):
    """Every picture loads from the disk, nothing sticks out, and before and after take turns."""
    with Browser(tmp_path / "profile", width) as browser:
        browser.open(folder / "sub-01.html")
        browser.wait_for("document.readyState == 'complete'")
        browser.run("document.querySelectorAll('img').forEach((i) => { i.loading = 'eager'; })")
        loaded = "[...document.images].filter(i => i.complete && i.naturalWidth > 0).length"
        n_images = browser.run("document.images.length")
        browser.wait_for(f"{loaded} == {n_images}")
        assert n_images >= 23
        assert browser.run(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
        assert browser.run("document.documentElement.scrollHeight") > 3000
        first = "document.querySelector('.flickers .layer1')"
        seen = f"getComputedStyle({first}).visibility"
        for state in ("hidden", "visible", "hidden"):
            browser.wait_for(f"{seen} == '{state}'", 10)
        browser.run("document.querySelector('.pause input').click()")
        assert browser.run(f"getComputedStyle({first}).animationPlayState") == "paused"
        browser.run("document.querySelector('.flickers .pick1').click()")
        assert browser.run(f"{seen} + getComputedStyle({first}).animationName") == "visiblenone"
        less = [{"name": "prefers-reduced-motion", "value": "reduce"}]
        browser.call("Emulation.setEmulatedMedia", features=less)
        browser.run("document.querySelector('.flickers .auto').click()")
        assert browser.run(f"{seen} + getComputedStyle({first}).animationName") == "hiddennone"
        assert browser.troubles == []


def test_viewer(folder, tmp_path):
    """It starts from the disk; turning the wheel moves both sides; another map can be chosen."""
    crosshair = "viewers.map((v) => [...v.frac2mm([...v.scene.crosshairPos])])"
    with Browser(tmp_path / "profile") as browser:
        browser.open(folder / "sub-01/figures/sub-01_viewer.html")
        assert browser.wait_for("document.body?.dataset.shown") == "FA"
        assert browser.run("document.getElementById('trouble').textContent") == ""
        start = np.array(browser.run(crosshair))[:, :3]
        picture = np.asarray(Image.open(browser.screenshot(tmp_path / "a.png")).convert("L"))
        for half in np.array_split(picture[100:-60], 2, axis=1):
            assert 0.05 < (half > 60).mean() < 0.9  # a brain on each side
        # the axial slice, at the bottom on the left
        for _ in range(4):
            browser.scroll(150, 600)
        browser.wait_for(f"Math.abs({crosshair}[0][2] - {start[0, 2]}) > 2")
        browser.wait_for(f"Math.abs({crosshair}[0][2] - {crosshair}[1][2]) < 2.5")
        moved = np.array(browser.run(crosshair))[:, :3]
        assert np.abs(moved - start)[:, :2].max() < 2.5  # within the plane it stays
        browser.run("show(MAPS.findIndex((map) => map.name == 'R4'))")
        assert browser.wait_for("document.body.dataset.shown") == "R4"
        # both at one moment: on a busy machine the last turns of the wheel arrive late
        values, places = browser.run(
            "[viewers.map((v) => v.volumes[0].getValue(...v.frac2vox(v.scene.crosshairPos))), "
            f"{crosshair}]"
        )
        expected = [3 + (place[2] - 11) / 40 for place in places]
        assert values == pytest.approx(expected, abs=0.15)
        assert browser.troubles == []
