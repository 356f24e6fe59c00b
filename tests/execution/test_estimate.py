"""Estimates before a run, and the cleaning after it."""

import os
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import fibonacci_directions

from dmri7t.errors import InputError
from dmri7t.execution.cleanup import clean
from dmri7t.execution.estimate import Need, check_memory, check_room, estimate
from dmri7t.io.scan import Scan
from dmri7t.settings import Settings
from dmri7t.signal.gradients import GradientTable
from dmri7t.signal.grids import Grid
from niflow.dmri7t import plan_series

Usage = namedtuple("Usage", "total used free")


def plan(n_volumes=10):
    """A scan of 8 directions and b0s."""
    image = Path("sub-1_dwi.nii.gz")
    scan = Scan(image, image, image, {}, {"sub": "1"}, "bids:raw:sub-1_dwi.nii.gz")
    settings = Settings("m", "m", "1", "ab", 5, 1, output_resolution="native")
    bvals = np.array([0.0] * (n_volumes - 8) + [1000.0] * 8)
    directions = np.concatenate([np.zeros((n_volumes - 8, 3)), fibonacci_directions(8)])
    grid = Grid((20, 20, 20), np.eye(4))
    return plan_series(scan, grid, GradientTable(bvals, directions), settings)


def test_estimate_follows_the_scan_and_names_the_largest_node():
    nodes = {f"top.a_wf.{n}": SimpleNamespace(mem_gb=m) for n, m in (("x", 1), ("y", 3), ("z", 2))}
    small, more, large = (estimate(nodes, plans) for plans in ([plan()], [plan()] * 2, [plan(20)]))
    assert small.memory_gb == 3 and small.node == "a_wf.y"
    assert more.work_gb == pytest.approx(2 * small.work_gb)
    # ten volumes more, before, after, and compressed
    assert large.work_gb - small.work_gb == pytest.approx(0.45 * 29 * 8000 * 4 / 2**30)
    assert small.sure_work_gb < small.work_gb and small.sure_out_gb < small.out_gb


@pytest.mark.parametrize(("free", "outcome"), [(0.5, "error"), (2, "warning"), (50, "fine")])
def test_room_on_disk(tmp_path, monkeypatch, free, outcome):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free * 2**30))
    need = Need(1.0, "n", 4.0, 1.0, 0.8, 0.1)
    where = (need, tmp_path / "w" / "deep", tmp_path / "o")
    if outcome == "error":
        with pytest.raises(InputError, match=r"0\.5 GiB are free.* 0\.9 GiB at least"):
            check_room(*where)
        # what an earlier run left is there already
        assert len(check_room(*where, present_gb=0.7)) == 1
    else:
        warnings = check_room(*where)
        assert len(warnings) == (outcome == "warning")


def test_memory_warns_and_names_the_way_out():
    need = Need(6.0, "a.encode", 1, 1, 1, 1)
    assert not check_memory(need, 8.0, False)
    (warning,) = check_memory(need, 4.0, False)
    assert "a.encode" in warning and "--low-mem" in warning
    (warning,) = check_memory(need, 4.0, True)
    assert "--low-mem" not in warning


def test_cleaning_takes_its_own_and_nothing_else(tmp_path):
    work = tmp_path / "work"
    node, other = work / "top/sub_wf/node", work / "top/other_wf/node"
    for folder in (node, other):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep/array").write_bytes(np.zeros(1000).tobytes())
    outside = tmp_path / "outside"
    outside.mkdir()
    # what a result is by another name stays, and frees nothing
    (node / "placed").write_bytes(bytes(5000))
    os.link(node / "placed", outside / "result")
    (work / "top/sub_wf/link").symlink_to(outside)
    (work / "top/sub_wf/status.json").write_text("{}")
    freed = clean(["top.sub_wf.node", "top.sub_wf.link", "top.sub_wf.never_ran"], work)
    assert freed == pytest.approx(8000 / 2**30)
    assert not node.exists() and other.exists() and (outside / "result").exists()
    assert not (work / "top/sub_wf/status.json").exists() and (work / "top/sub_wf/link").exists()
    (work / "top/sub_wf/link").unlink()
    clean(["top.sub_wf.node"], work)
    assert not (work / "top/sub_wf").exists() and (work / "top").exists()
