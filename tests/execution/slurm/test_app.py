"""The command on a real SLURM: one job a participant, and a job a node."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from examples import make
from nipype.utils.filemanip import loadpkl

from dmri7t.io.dataset import validate_dataset

pytestmark = pytest.mark.slow

ARRAY = Path(__file__).parents[3] / "workflows" / "plugins" / "array.sbatch"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Two participants, and a folder with the command to put first on the PATH."""
    place = tmp_path_factory.mktemp("app")
    make.make_dataset("good/single", place / "data")
    shutil.copytree(place / "data" / "sub-01", place / "data" / "sub-02")
    for path in (place / "data" / "sub-02").rglob("sub-01*"):
        path.rename(path.with_name(path.name.replace("sub-01", "sub-02")))
    (place / "bin").mkdir()
    command = place / "bin" / "dmri7t"
    run = shlex.join([sys.executable, "-m", "dmri7t.cli.app"])
    command.write_text(f'#!/bin/sh\nexec {run} "$@"\n')
    command.chmod(0o755)
    return place


def call(cluster, place: Path, *words: object) -> subprocess.CompletedProcess[str]:
    variables = cluster.variables | {
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.run(
        [str(word) for word in words],
        env=os.environ | variables,
        cwd=place,
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.fixture(scope="module")
def array(cluster, place, tiny_model) -> subprocess.CompletedProcess[str]:
    """The script that ships, as its first lines say."""
    limits = ("--cpus-per-task=1", "--mem=4G")
    folders = ("data", "out", "work")
    return call(
        cluster,
        place,
        *("sbatch", "--wait", "--array=1-2", *limits, ARRAY, *folders),
        *("--model", tiny_model, "--samples", 1),
    )


def logs(place: Path) -> str:
    return "\n".join(p.read_text() for p in sorted(place.glob("dmri7t-*_*.log")))


def test_one_job_a_participant(array, place):
    assert array.returncode == 0, array.stdout + array.stderr + logs(place)
    for label in ("01", "02"):
        assert f"sub-{label} done" in logs(place).splitlines()
        assert (place / f"out/sub-{label}.html").is_file()
    assert validate_dataset(place / "out").remark == "no errors"
    assert not list((place / "out").rglob(".part-*"))


def test_a_job_takes_what_it_was_given(array, place):
    """Its node has more processors, and so may have the machine."""
    (found,) = place.glob("work/sub-01/dmri7t_wf/sub_01_wf/dwi_wf/prepare/_node.pklz")
    assert loadpkl(found).n_procs == 1


def test_a_job_a_node(array, cluster, place, tiny_model):
    """From super-resolution on, with other options; what is before it was computed above."""
    plugin = place / "slurm.yml"
    plugin.write_text(
        "plugin: SLURM\nplugin_args: {sbatch_args: '--time=30', poll_sleep_duration: 1,"
        " watch_seconds: 0.1}\n"
    )
    image = place / "out/sub-01/dwi/sub-01_desc-7Tlike_dwi.nii.gz"
    before = image.read_bytes()
    done = call(
        cluster,
        place,
        *("dmri7t", "data", "out", "participant", "--participant-label", "01"),
        *("--model", tiny_model, "--samples", 1, "--upsampling", "bspline"),
        *("--consistency", "-w", "work/sub-01"),
        *("--use-plugin", plugin, "--omp-nthreads", 2),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sub-01 done" in done.stdout.splitlines()
    assert image.read_bytes() != before
    record = json.loads((place / "work/sub-01/dmri7t_wf/sub_01_wf/status.json").read_text())
    states = {node["name"]: node["state"] for node in record["nodes"]}
    assert states["dwi_wf.b1000_wf.diffuse"] == "cached"
    computed = {name for name, state in states.items() if state == "done"}
    jobs = {line.split("sub_01_wf.")[1] for line in done.stdout.splitlines() if "] job " in line}
    assert "dwi_wf.b1000_wf.super_resolve" in jobs and "report" in jobs
    # what only lists files needs no job
    here = {name for name in computed if name.split(".")[-1].startswith(("collect", "gather"))}
    assert jobs == computed - here and here
    measured = {node["name"]: node["peak_gb"] for node in record["nodes"]}
    assert all(measured[name] > 0.05 for name in jobs)
