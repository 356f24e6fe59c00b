"""Continuous integration counts a skipped test as a failed one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = """
import pytest

def test_passes(): pass

@pytest.mark.gpu
@pytest.mark.skip(reason="no GPU")
def test_gpu(): pass

@pytest.mark.xfail(reason="known")
def test_known(): assert 0

@pytest.mark.skip(reason="no MRtrix")
def test_skipped(): pass

def test_skips_itself(): pytest.skip("not today")
"""


def run(folder: Path, **env: str) -> str:
    (folder / "test_sample.py").write_text(SAMPLE)
    (folder / "test_whole_file.py").write_text("import pytest\npytest.importorskip('nosuch')\n")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
    clean = {k: v for k, v in os.environ.items() if k != "DMRI7T_NO_SKIPS"}
    clean |= {"PYTHONPATH": str(Path(__file__).parent), **env}
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "--continue-on-collection-errors"]
    return subprocess.run(
        [*command, str(folder)], cwd=folder, env=clean, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize(
    ("env", "closing"),
    [
        ({}, "1 passed, 4 skipped, 1 xfailed"),
        ({"DMRI7T_NO_SKIPS": "1"}, "1 failed, 1 passed, 1 skipped, 1 xfailed, 2 errors"),
    ],
)
def test_skips(tmp_path: Path, env: dict[str, str], closing: str) -> None:
    out = run(tmp_path, **env)
    assert closing in out.splitlines()[-1], out
    if env:
        assert "no MRtrix" in out and "not today" in out and "nosuch" in out
