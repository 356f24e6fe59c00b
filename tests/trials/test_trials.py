"""A sample of all trials, always the same one; ``make trials`` runs the rest, too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trials.case import Case
from trials.runner import Bench, sample
from trials.tables import CASES

SECONDS = 60.0
"""How long the sample takes about, on two quiet processors."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    parent = tmp_path_factory.mktemp("trials")
    # some cases run as another user
    for folder in (parent, *parent.parents[:3]):
        if folder.stat().st_uid == os.getuid():
            folder.chmod(0o755)
    return Bench(Path(parent))


@pytest.mark.parametrize("case", sample(CASES, SECONDS), ids=lambda case: case.name)
def test_a_case_ends_in_what_it_must(bench, case: Case):
    verdict = bench.judge(case)
    assert not verdict.fault, str(verdict)
