"""Commands run whatever is around them, or say in one line why they cannot."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from examples import make

from dmri7t.cli.hints import did_you_mean
from dmri7t.cli.model import main as model_main
from dmri7t.cli.parser import build_parser
from dmri7t.cli.surroundings import check_paths
from dmri7t.errors import InputError
from dmri7t.execution.locks import lock_file

SCRIPT = Path(sys.executable).with_name("dmri7t")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    make.make_dataset("good/single", root / "in")
    shutil.copytree(root / "in", root / "dätä")
    return root


def shell(text, cwd, **environment):
    """Run a line of a shell, in which $DMRI7T is the command."""
    names = {"DMRI7T": f"{sys.executable} -m dmri7t.cli.app", **environment}
    return subprocess.run(
        ["bash", "-c", text],
        cwd=cwd,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        env={**os.environ, **names},
    )


DRY = "participant --skip-bids-validation --dry-run -w work --model"


@pytest.mark.parametrize(
    "line",
    [
        "$DMRI7T in out {dry} 2>&-",
        "$DMRI7T in out {dry} >&-",
        "$DMRI7T in out {dry} <&- >&- 2>&-",
        "set -o pipefail; $DMRI7T in out {dry} 2>&1 | head -1",
        "MPLBACKEND=nonsense MPLCONFIGDIR=/proc/none PYTHONWARNINGS=error $DMRI7T in out {dry}",
        "PYTHONOPTIMIZE=2 $DMRI7T in '50%_done' {dry}",
        "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $DMRI7T dätä öut {dry}",
        "PYTHONIOENCODING=ascii $DMRI7T dätä öut {dry}",
        "echo 'raise SystemExit(9)' > random.py; $DMRI7T in out {dry}",
        "mkdir gone; cd gone; rmdir ../gone; {script} $OLDPWD/in $OLDPWD/out {dry} -w $OLDPWD/w",
    ],
)
def test_it_runs(data, tiny_model, line):
    run = shell(line.format(dry=f"{DRY} {tiny_model}", script=SCRIPT), data)
    assert run.returncode == 0, run.stdout + run.stderr
    assert not run.stderr, run.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mkdir away; cd away; rmdir ../away; {script} ../in out {dry}", "folder was deleted"),
        ("mkdir $'b\\xff'; $DMRI7T in $'b\\xff' {dry}", r"b\xff: this name is no UTF-8"),
        ("ulimit -v 500000; $DMRI7T in out {dry}", "memory is limited to 0.48 GiB (ulimit -v)"),
        ("$DMRI7T in out participant --participant-lable 01", "mean --participant-label?"),
        ("$DMRI7T in out partcipant", "did you mean participant?"),
        ("$DMRI7T in out {dry} --participant-label 001", "did you mean 01?"),
        ("$DMRI7T in out {dry} --upsampling modle", "did you mean model?"),
        ("{python} -m dmri7t.cli.model trian recipe out", "did you mean train?"),
        ("{python} -m dmri7t.cli.model train recipe out --sed 1", "did you mean --seed"),
    ],
)
def test_one_clear_line(data, tiny_model, line, said):
    dry = f"{DRY} {tiny_model}"
    run = shell(line.format(dry=dry, script=SCRIPT, python=sys.executable), data)
    assert run.returncode == 2, run.stdout + run.stderr
    (line,) = run.stderr.splitlines()
    assert said in line


@pytest.mark.parametrize(("given", "turns"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_threads_that_wait_leave_their_processor_to_others(given, turns):
    program = "import sys; sys.argv[0] = 'dmri7t'; import dmri7t.cli, os; print(os.environ[{!r}])"
    names = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"}
    words = [sys.executable, "-c", program.format("GOMP_SPINCOUNT")]
    told = subprocess.run(words, env={**names, **given}, capture_output=True, text=True)
    assert told.stdout.strip() == turns, told.stderr


def test_an_interruption_while_it_loads_prints_nothing(tmp_path):
    # a library takes as long as on a slow disk
    slow = "open('loading', 'w').close(); import time; time.sleep(60)"
    (tmp_path / "attrs.py").write_text(slow)
    # a shell's background commands are started with the signal ignored
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; import sys; sys.argv[0] = 'dmri7t'; import dmri7t.cli.app"
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "loading").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (-signal.SIGINT, "")


def test_labels_may_be_joined_by_commas():
    words = ["in", "out", "participant", "--participant-label", "sub-a,b", "c", "--session-id"]
    args = build_parser().parse_args([*words, "ses-x, y"])
    assert args.participant_label == ["a", "b", "c"] and args.session_id == ["x", "y"]


def test_what_is_unlike_all_gets_no_hint():
    assert did_you_mean("--frobnicate", ["--mem", "--model"]) == ""


def test_a_second_run_is_told_at_once(data, tiny_model, tmp_path):
    """The first run is a process that holds the participant as a run does."""
    program = (
        "import sys, time; from pathlib import Path\n"
        "from dmri7t.execution.locks import hold_participants\n"
        "with hold_participants(['01'], [Path(sys.argv[1])]):\n"
        "    print('held', flush=True); time.sleep(120)\n"
    )
    for folder in ("out/logs", "work/dmri7t_wf"):
        words = [sys.executable, "-c", program, str(tmp_path / folder)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as first:
            assert first.stdout.readline() == "held\n"
            options = f"--skip-bids-validation --model {tiny_model} -w {tmp_path}/work"
            run = shell(f"$DMRI7T in {tmp_path}/out participant {options}", data)
            assert lock_file(tmp_path / folder, "01").exists()
            first.kill()
        assert run.returncode == 2
        (line,) = run.stderr.splitlines()
        assert "another run uses this folder for sub-01" in line and str(first.pid) in line
        lock_file(tmp_path / folder, "01").unlink()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    "words",
    [
        "train default FILE",
        "train default FILE/model",
        "simulate FILE",
        "evaluate default --output FILE",
        "compare DATA --output FILE/tables",
    ],
)
def test_a_file_where_a_verb_would_write_is_told_before_it_computes(words, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    places = {"FILE": str(file), "DATA": str(tmp_path)}
    for name, place in places.items():
        words = words.replace(name, place)
    with pytest.raises(SystemExit) as ended:
        model_main(words.split())
    said = capsys.readouterr()
    assert ended.value.code == 2 and not said.out
    assert said.err.startswith(f"dmri7t-model: {file}: is a file where a folder is needed")


@pytest.mark.parametrize("below", ["n" * 300, "/".join(["d" * 100] * 60)])
def test_paths_that_are_too_long_are_told_in_short(tmp_path, below):
    with pytest.raises(InputError, match="longer than a path, or a name in it, may be") as raised:
        check_paths([tmp_path / below])
    assert len(str(raised.value)) < 250


def test_links_that_lead_in_a_circle_are_told_by_name(tmp_path):
    (tmp_path / "out").symlink_to("out")
    for path in (tmp_path / "out", tmp_path / "out/below"):
        with pytest.raises(InputError, match=f"^{path}: links that lead in a circle"):
            check_paths([path])
    check_paths([tmp_path, tmp_path / "not/there", None])
