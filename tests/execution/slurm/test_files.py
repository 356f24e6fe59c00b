"""Plugin files and options of sbatch, without a cluster."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dmri7t.cli.app import main
from dmri7t.errors import InputError, Terminated
from dmri7t.execution import plugin_file
from dmri7t.execution.plugin_file import LocalSettings, read_plugin_file
from dmri7t.execution.slurm.client import Job, Slurm, Unreachable, is_configured
from dmri7t.execution.slurm.options import replace_by_name, split_options
from dmri7t.execution.slurm.settings import SlurmSettings

PLUGINS = Path(__file__).parents[3] / "workflows" / "plugins"


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(plugin_file, "has_slurm", lambda: True)
    monkeypatch.setattr(plugin_file, "is_configured", lambda: True)


def written(folder: Path, text: str) -> Path:
    path = folder / "plugin.yml"
    path.write_text(text)
    return path


def test_files_that_ship_can_be_used(installed):
    assert read_plugin_file(PLUGINS / "local.yml") == LocalSettings(8, 24.0)
    settings = read_plugin_file(PLUGINS / "slurm.yml")
    assert settings.sbatch_args == ("--time=02:00:00",)
    assert (settings.max_jobs, settings.poll_seconds, settings.result_seconds) == (50, 15, 120)


def test_local_plugins(tmp_path):
    assert read_plugin_file(written(tmp_path, "plugin: local\n")) == LocalSettings()
    one = read_plugin_file(written(tmp_path, "plugin: Linear\nplugin_args: {}\n"))
    assert one == LocalSettings(one_by_one=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("plugin: SGE\n", "plugin 'SGE' is not known; choose SLURM, MultiProc, Linear or local"),
        ("plugin_args: {}\n", "does not say which plugin"),
        ("plugin: [\n", "not readable as YAML"),
        ("plugin: MultiProc\nplugin_args: {n_proc: 2}\n", "n_proc not known; there are: n_procs"),
        ("plugin: MultiProc\nplugin_args: {n_procs: two}\n", "n_procs must be a whole number"),
        ("plugin: MultiProc\nplugin_args: {memory_gb: 0}\n", "memory_gb must be above 0"),
        ("plugin: MultiProc\nplugin_args: 3\n", "plugin_args must hold names and values"),
        ("plugin: SLURM\nplugin_args: {sbatch_args: '-J me'}\n", "--job-name cannot be set"),
        ("plugin: SLURM\nplugin_args: {sbatch_args: '-t \"1'}\n", "No closing quotation"),
        ("plugin: SLURM\nplugin_args: {template: nowhere.sh}\n", "No such file"),
        ("plugin: SLURM\nplugin_args: {poll_seconds: soon}\n", "poll_seconds must be a number"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(installed, tmp_path, text, words):
    with pytest.raises(InputError) as caught:
        read_plugin_file(written(tmp_path, text))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert str(tmp_path / "plugin.yml") in str(caught.value)


def test_slurm_where_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="start dmri7t on a machine of the cluster"):
        read_plugin_file(PLUGINS / "slurm.yml")


@pytest.mark.parametrize("option", ["--use-plugin", "--nipype-plugin-file"])
def test_the_command_ends_with_2(option, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        path = written(tmp_path, "plugin: PBS\n")
        data, out = tmp_path / "data", tmp_path / "out"
        main([str(data), str(out), "participant", "-w", str(tmp_path / "w"), option, str(path)])
    assert ended.value.code == 2
    assert "plugin 'PBS' is not known" in capsys.readouterr().err


def test_the_command_that_is_terminated(monkeypatch, tmp_path, capsys):
    def terminated(args):
        raise Terminated("signal 15")

    monkeypatch.setattr("dmri7t.cli.app.run", terminated)
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), str(tmp_path / "out"), "participant"])
    assert ended.value.code == 143 and "interrupted" in capsys.readouterr().err


def test_the_users_options_replace_ours_by_name_only():
    ours = {"--mem": "1M", "--cpus-per-task": "2", "--output": "x", "--gres": "gpu:1"}
    assert replace_by_name(ours, split_options("-c 8 --comment=--mem")) == [
        "--mem=1M",
        "--output=x",
        "--gres=gpu:1",
    ]
    # words that merely contain -o or -e are no options
    theirs = split_options("--exclude=node-o1 --partition gpu-e --gpus=a100:1")
    assert replace_by_name(ours, theirs) == ["--mem=1M", "--cpus-per-task=2", "--output=x"]


def fake(folder: Path, monkeypatch, name: str, script: str) -> None:
    """Put a command of SLURM's first on the PATH."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_what_squeue_says(tmp_path, monkeypatch):
    fake(tmp_path, monkeypatch, "squeue", 'echo "7|RUNNING|None|a|b"')
    assert Slurm().jobs() == {"7": Job("7", "a|b", "RUNNING", "None")}
    fake(tmp_path, monkeypatch, "squeue", "echo slurm_load_jobs error: out >&2; exit 1")
    with pytest.raises(Unreachable, match="slurm_load_jobs error: out"):
        Slurm().jobs()
    fake(tmp_path, monkeypatch, "squeue", "exec sleep 30")
    with pytest.raises(Unreachable, match="squeue did not answer within 0.3 s"):
        Slurm(seconds=0.3).jobs()


def test_ended_jobs_are_looked_up_where_they_may_still_be_known(tmp_path, monkeypatch):
    config = f"JobCompLoc = {tmp_path}/jobs\nJobCompType = jobcomp/filetxt"
    fake(tmp_path, monkeypatch, "scontrol", f'[ "$2" = config ] && echo "{config}"')
    fake(tmp_path, monkeypatch, "sacct", "echo slurm accounting storage is disabled >&2; exit 1")
    (tmp_path / "jobs").write_text(
        "JobId=71 JobState=COMPLETED ExitCode=0:0\nJobId=7 JobState=TIMEOUT ExitCode=0:15 \n"
    )
    ending = Slurm().ending("7")
    assert (ending.state, ending.signal) == ("TIMEOUT", 15)
    fake(tmp_path, monkeypatch, "sacct", 'echo "CANCELLED by 0|0:9"')
    ending = Slurm().ending("7")
    assert (ending.state, ending.signal) == ("CANCELLED", 9)


@pytest.mark.parametrize(
    ("said", "configured"),
    [
        ("scontrol: fatal: Could not establish a configuration source", False),
        ("Slurmctld(primary) at login1 is DOWN", True),
    ],
)
def test_slurm_that_belongs_to_no_cluster_is_told_at_once(tmp_path, monkeypatch, said, configured):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    scontrol.chmod(0o755)
    monkeypatch.setattr(plugin_file, "has_slurm", lambda: True)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert is_configured() is configured
    file = tmp_path / "plugin.yml"
    file.write_text("plugin: SLURM\n")
    if configured:
        assert isinstance(read_plugin_file(file), SlurmSettings)
    else:
        with pytest.raises(InputError, match=r"plugin\.yml: asks for SLURM, which has no config"):
            read_plugin_file(file)
