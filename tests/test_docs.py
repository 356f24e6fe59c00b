"""The documentation builds without a warning and says what the code says."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Build the pages, warnings being errors."""
    pytest.importorskip("sphinx_gallery")
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(DOCS), str(out)]
    # every tutorial runs, also one whose text is that of an earlier build: the code may be new
    tutorials = ["run_stale_examples=True", "junit=tutorials.xml"]
    settings = [word for value in tutorials for word in ("-D", f"sphinx_gallery_conf.{value}")]
    done = subprocess.run([*command, *settings], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def text(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def test_every_tutorial_ran_and_shows_what_came_out(built: Path) -> None:
    scripts = sorted(DOCS.glob("tutorials/[0-9]_*.py"))
    cases = ElementTree.parse(built / "tutorials.xml").getroot().findall("testcase")
    assert len(scripts) == 5
    assert {Path(case.get("file", "")).name for case in cases} == {path.name for path in scripts}
    assert not [case.get("name") for case in cases if len(case)]  # failed, or skipped
    for script in scripts:
        page = (built / "gallery" / f"{script.stem}.html").read_text()
        assert "sphx-glr-script-out" in page, f"{script.name} prints nothing"
        pictures = set(re.findall(rf"_images/(sphx_glr_{script.stem}_\d+\.png)", page))
        assert pictures, f"{script.name} draws nothing"
        for picture in pictures:
            assert np.asarray(Image.open(built / "_images" / picture).convert("L")).std() > 5
        assert "What not to conclude" in text(built / "gallery" / f"{script.stem}.html")
        assert "dmri7t-tutorials-" not in page, f"{script.name} shows a path of this machine"


def test_usage_names_every_option(built: Path) -> None:
    from dmri7t.cli.parser import build_parser

    page = text(built / "usage.html")
    options = {o for action in build_parser()._actions for o in action.option_strings}
    assert not {o for o in options - {"-h", "--help"} if o not in page}


def test_usage_shows_every_kind_of_input(built: Path) -> None:
    from dmri7t.io.kinds.registry import KINDS

    page = text(built / "usage.html")
    for kind in KINDS.values():
        (name,) = re.findall(r"^\*\*(.+?)\*\*", kind.usage)
        assert name in page


def test_outputs_names_every_file(built: Path) -> None:
    from dmri7t.io.derivatives import OUTPUTS

    page = text(built / "outputs.html")
    assert not {o.suffix for o in OUTPUTS.values() if o.suffix not in page}


def test_evaluation_names_every_row(built: Path) -> None:
    from dmri7t.evaluation.methods import described_rows

    page = text(built / "evaluation.html")
    assert not {name for name, _ in described_rows() if name not in page}


def test_training_shows_the_recipes(built: Path) -> None:
    page = text(built / "training.html")
    assert "[stages.diffusion]" in page and 'start = "noise"' in page


def test_models_names_those_that_ship(built: Path) -> None:
    from dmri7t.models.bundle import ZOO
    from dmri7t.models.config import read_config

    page = text(built / "models.html")
    for config in ZOO.glob("*/config.json"):
        assert read_config(config.parent).name in page


def test_house_lists_every_package() -> None:
    from test_layers import RESTS_ON

    page = (DOCS / "developers.rst").read_text()
    listed = {line.split("/")[-1].strip("`") for line in re.findall(r"\* - (``\S+``)", page)}
    names = {name if name != "niflow" else "dmri7t" for name in RESTS_ON}
    assert names <= listed


def test_developers_are_sent_to_files_that_are_there() -> None:
    page = (DOCS / "developers.rst").read_text()
    named = re.findall(r"``((?:dmri7t|workflows|tests|docs|bids_examples)/[\w/.]*)``", page)
    assert len(named) > 20
    assert not [name for name in named if not (DOCS.parent / name).exists()]
