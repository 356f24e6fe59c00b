"""What a user sees of a run: a display on a terminal, lines without codes in a file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from examples import make
from execution.test_display import on_terminal


@pytest.fixture(scope="module")
def words(tmp_path_factory, tiny_model) -> list[str]:
    root = tmp_path_factory.mktemp("single")
    make.make_dataset("good/single", root / "in")
    asked = [root / "in", root / "out", "participant", "-w", root / "work", "--model", tiny_model]
    options = ["--nprocs", 1, "--skip-bids-validation"]
    return [sys.executable, "-m", "dmri7t.cli.app", *map(str, [*asked, *options])]


def test_terminal_shows_bars_and_a_file_gets_lines(words: list[str], tmp_path: Path) -> None:
    with open(tmp_path / "errors", "w") as errors:
        shown, code = on_terminal(words, stderr=errors)
    assert code == 0, shown + (tmp_path / "errors").read_text()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "It will take a minute or so a participant, with 1 processor" in plain
    assert "0 of 1 participants done, 1 running" in plain
    assert "sub-01" in plain and "%" in plain and "\x1b[1A" in shown
    assert "dwi_wf" not in plain.partition("It will take")[2]
    assert plain.rstrip().endswith("sub-01.html") and "sub-01 done" in plain

    again = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0 and "\x1b" not in again.stdout + again.stderr
    assert "sub-01: done, nothing to do; 1 of 1 participants done" in again.stdout
    assert "is up to date" not in again.stdout
    every = subprocess.run([*words, "-v"], capture_output=True, text=True, timeout=300)
    assert "sub-01 dwi_wf.prepare is up to date" in every.stdout
