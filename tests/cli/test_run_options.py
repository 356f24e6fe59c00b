"""Runs that are killed, ended, watched and cleaned up after; options that concern the run."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import attrs
import pytest
from examples import make

from dmri7t.cli.app import make_settings, parse
from dmri7t.cli.config import apply_config
from dmri7t.cli.parser import build_parser
from dmri7t.errors import InputError
from dmri7t.settings import Settings
from niflow.dmri7t import model_settings


def command(single, out, work, model, *more):
    words = [single, out, "participant", "--model", model, "-w", work, "--nprocs", 2, "-v", *more]
    return [sys.executable, "-m", "dmri7t.cli.app", *map(str, words)]


def without(*what):
    """Words before a command that run it in namespaces of its own; none where that is refused."""
    words = ["unshare", "-r", *what]
    try:
        allowed = subprocess.run([*words, "true"], capture_output=True).returncode == 0
    except OSError:
        allowed = False
    return words if allowed else []


def run(words):
    return subprocess.run(words, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def single(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("single")
    make.make_dataset("good/single", root)
    return root


@pytest.fixture(scope="module")
def undisturbed(single, tiny_model, tmp_path_factory):
    """A run without network, and with options from a file."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "o.toml").write_text("[nipype]\nresource_monitor = true\n[workflow]\nsamples = 2\n")
    words = command(single, folder / "out", folder / "work", tiny_model)
    done = run([*without("-n"), *words, "--config-file", str(folder / "o.toml"), "--notrack"])
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done


def test_no_network_is_needed(undisturbed):
    if not without("-n"):
        pytest.skip("this kernel gives no network namespace to users")
    probe = "import socket; socket.create_connection(('127.0.0.1', 9), 1)"
    inside = run([*without("-n"), sys.executable, "-c", probe])
    assert "unreachable" in inside.stderr
    assert "sub-01 done" in undisturbed[1].stdout


def test_what_is_needed_is_said_before_and_what_was_used_after(undisturbed):
    folder, done = undisturbed
    before, after = done.stdout.split("started", 1)
    assert "GiB of memory (largest node: sub_01_wf.dwi_wf." in before
    assert "in the work folder" in before
    with open(folder / "out/logs/resources.tsv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    names = {row["node"] for row in rows}
    assert {"report", "dwi_wf.outputs_wf.ds_dwi"} <= names
    assert all(float(row["seconds"]) >= 0 and float(row["peak_gb"]) > 0 for row in rows)
    assert all(float(row["cpu_seconds"]) > 0 for row in rows)
    encode = next(row for row in rows if row["node"].endswith("encode"))
    assert encode["participant"] == "sub-01" and encode["n_procs"] == "1"
    assert float(encode["declared_gb"]) >= 1
    assert "resources.tsv" in after


def results(out):
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.suffix != ".html" and "logs" not in path.parts
    }


def end_at(words, moment, number):
    """Start a command, and end its whole group at a line of progress; code and what it said."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    running = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=environment,
    )
    said = []
    for line in running.stdout:
        said.append(line)
        if moment in line:
            break
    else:
        running.wait()
        raise AssertionError(f"{moment} never came:\n{''.join(said)}")
    time.sleep(0.02)
    if number == signal.SIGKILL:
        os.killpg(running.pid, number)
    else:
        running.send_signal(number)
    rest = running.stdout.read()
    code = running.wait(60)
    return code, rest, running.pid


def test_killed_again_and_again_the_same_command_ends_with_the_same_bytes(
    undisturbed, single, tiny_model, tmp_path
):
    out, work = tmp_path / "out", tmp_path / "work"
    words = command(single, out, work, tiny_model, "--samples", 2, "--clean-workdir")
    work.mkdir()
    mine = [work / "mine.txt", work / "dmri7t_wf/sub_01_wf/mine.txt"]
    mine[1].parent.mkdir(parents=True)
    for path in mine:
        path.write_text("mine")
    moments = [
        ("encode started", signal.SIGKILL),
        ("harmonize started", signal.SIGTERM),
        ("ds_rish_native started", signal.SIGINT),
        ("ds_dwi started", signal.SIGKILL),
    ]
    for moment, number in moments:
        code, rest, group = end_at(words, moment, number)
        assert code == {signal.SIGTERM: 143, signal.SIGINT: 130}.get(number, -number), rest
        if number != signal.SIGKILL:
            assert "NOT FINISHED" in rest and "goes on where this one stopped" in rest
            assert "Traceback" not in rest
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and _group_lives(group):
            time.sleep(0.1)
        assert not _group_lives(group), "workers outlive their driver"
    # what a kill in the midst of writing leaves
    result = next((work / "dmri7t_wf").rglob("result_encode.pklz"))
    result.write_bytes(result.read_bytes()[:30])
    part = f".part-{socket.gethostname()}.{group}-sub-01_desc-7Tlike_dwi.nii.gz"
    stale = out / "sub-01/dwi" / part
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.write_text("half")
    # of a file that is finished and that nobody writes again
    finished = stale.with_name(part.replace("_desc-7Tlike", "_space-T1w_desc-7Tlike"))
    finished.write_text("half")
    done = run(words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert results(out) == results(undisturbed[0] / "out")
    assert "results are whole" in done.stdout and "freed" in done.stdout
    assert sorted(p for p in work.rglob("*") if p.is_file()) == sorted(mine)


def _group_lives(group):
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, owner = stat.read_text().rsplit(")", 1)[1].split()[:3]
        except OSError:
            continue
        if int(owner) == group and state != "Z":
            return True
    return False


def test_full_disk_is_one_line_and_no_success(single, tiny_model, tmp_path):
    if not without("-m"):
        pytest.skip("this kernel gives no mount namespace to users")
    full = tmp_path / "full"
    full.mkdir()
    words = command(single, tmp_path / "out", full / "work", tiny_model, "--clean-workdir")

    def on_a_disk_of(size):
        mount = f'mount -t tmpfs -o size={size} none {full} && exec "$@"'
        return run([*without("-m"), "sh", "-c", mount, "sh", *words])

    small = on_a_disk_of("128k")
    assert small.returncode == 2 and not (tmp_path / "out").exists()
    (line,) = small.stderr.splitlines()
    assert "are free" in line and "at least" in line
    # enough to begin, too little to end
    fills = on_a_disk_of("1700k")
    assert fills.returncode == 1, fills.stdout + fills.stderr
    assert "No space left" in fills.stdout.split("Summary:")[1]
    assert "Traceback" not in fills.stdout + fills.stderr
    assert "the work folder stays" in fills.stdout


def test_file_of_options_is_read_and_the_command_line_goes_first(tmp_path):
    path = tmp_path / "o.toml"
    path.write_text(
        'participant_label = ["sub-01", "02"]\nmem = "2000M"\noutput-resolution = [1.0, 1.0, 2.0]\n'
        '[nipype]\nnprocs = 3\nlow_mem = true\n[workflow]\nshells = [1000]\nmodel = "cnn"\n'
    )
    parser = build_parser()
    apply_config(parser, path)
    args = parser.parse_args(["in", "out", "participant", "--nprocs", "5"])
    assert args.participant_label == ["01", "02"] and args.nprocs == 5 and args.low_mem
    assert args.mem == pytest.approx(2000 / 1024) and args.shells == [1000]
    assert args.output_resolution == (1.0, 1.0, 2.0) and args.model == "cnn"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", "unknown key colour"),
        ("[nipype]\nnprocs = 0", "nprocs cannot be 0"),
        ("low_mem = 1", "true or false"),
        ('device = "abacus"', "choose from"),
        ("nprocs = [1, 2]", "nprocs cannot be"),
        ("{", "not a readable TOML"),
        ("mem = " + 3000 * "[", "not a readable TOML"),
    ],
)
def test_mistake_in_a_file_of_options_is_named(tmp_path, text, message):
    path = tmp_path / "o.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        apply_config(build_parser(), path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_file_of_options_is_read_whatever_its_mark_and_however_short_its_option(tmp_path):
    path = tmp_path / "o.toml"
    path.write_bytes(b"\xef\xbb\xbfnprocs = 3\n")
    words = ["in", "out", "participant", "--config-f", str(path)]
    assert parse(words).nprocs == 3 and parse([*words, "--nprocs", "5"]).nprocs == 5


def test_mistake_in_a_file_of_options_is_exit_2(tmp_path):
    path = tmp_path / "o.toml"
    path.write_text("colour = 1")
    ended = run(command(tmp_path, tmp_path / "o", tmp_path / "w", "m", "--config-file", path))
    assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "gb"),
    [
        (["--mem", "16"], 16),
        (["--mem-gb", "16G"], 16),
        (["--mem", "1T"], 1024),
        (["--mem", "2048MB"], 2),
        (["--mem_mb", "2048"], 2),
        (["--mem-mb", "2048"], 2),
    ],
)
def test_spellings_of_memory(words, gb):
    args = build_parser().parse_args(["in", "out", "participant", "--n_cpus", "3", *words])
    assert args.mem == gb and args.nprocs == 3


def test_memory_that_may_be_megabytes_is_asked_about(capsys):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(["in", "out", "participant", "--mem", "16000"])
    assert ended.value.code == 2 and "Write 16000G or 16000M" in capsys.readouterr().err


def test_every_option_of_a_settings_name_reaches_it(tiny_model):
    """So a new one needs no line but its own: --ratio-upper is none of the command's."""
    parser = build_parser()
    parser.add_argument("--ratio-upper", type=float)
    words = """--ratio-upper 3 --samples 7 --sampler-steps 9 --random-seed 5 --shells 1000 2000
        --b0-threshold 50 --consistency 0.5 --output-resolution native --output-layout qsiprep
        --denoise --gibbs --upsampling bspline --low-mem --precision float32 --no-compare
        --estimate sample --weigh-by model --energy 0.75 --keep-floor""".split()
    args = parser.parse_args(["in", "out", "participant", "--model", str(tiny_model), *words])
    settings, _ = make_settings(args, "cuda")
    fields = {field.name: field for field in attrs.fields(Settings) if field.name in vars(args)}
    # the model and the device besides; --no-compare is compare, --keep-floor remove_floor
    assert len(fields) == len([word for word in words if word.startswith("--")]) + 2
    for name in set(fields) - {"model", "device"}:
        asked, used = getattr(args, name), getattr(settings, name)
        assert used == (tuple(asked) if isinstance(asked, list) else asked), name
        assert used != fields[name].default, name
    assert settings.device == "cuda" and Path(settings.model) == tiny_model


def test_options_that_are_left_out_are_the_defaults_of_settings_and_model(tiny_model):
    words = ["in", "out", "participant", "--model", str(tiny_model)]
    settings, _ = make_settings(build_parser().parse_args(words), "cpu")
    assert settings == model_settings(str(tiny_model))[0]
