"""A killed training ends in the same bytes as one that was let be."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from training.tiny import start_training, train_to_end, write_recipe

from dmri7t.training.log import StageLog, join_logs, read_lines


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """A training without a kill; its pool and recipe serve the other too."""
    folder = tmp_path_factory.mktemp("straight")
    recipe = write_recipe(folder / "tiny.toml")
    train_to_end(recipe, folder / "model", "--pool", folder / "pool")
    return folder


def kill_when_logged(lines: int, log: Path, *arguments: str | Path) -> None:
    """Kill a training without mercy once its log has so many lines."""
    process = start_training(*arguments)
    try:
        while len(read_lines(log)) < lines:
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_killed_in_three_stages_it_ends_in_the_same_bytes(straight, tmp_path):
    arguments = (straight / "tiny.toml", tmp_path / "model", "--pool", straight / "pool")
    for stage, lines in (("vqvae_3t", 3), ("diffusion", 3), ("super_resolution", 2)):
        work = tmp_path / "model" / "training"
        kill_when_logged(lines, work / stage / "log.jsonl", *arguments)
        assert (work / stage / "last.ckpt").exists() and not (
            work / f"{stage}.safetensors"
        ).exists()
    train_to_end(*arguments)
    names = sorted(p.name for p in (straight / "model").glob("*.*"))
    assert len([n for n in names if n.endswith(".safetensors")]) == 5
    for name in names:
        pairs = [(folder / "model" / name).read_bytes() for folder in (straight, tmp_path)]
        assert pairs[0] == pairs[1], name


@pytest.mark.slow
def test_curves_and_log_tell_of_every_stage(straight):
    log = join_logs(straight / "model" / "training", ["mean", "vqvae_3t", "vqvae_7t", "diffusion"])
    assert list(log.columns[:2]) == ["stage", "step"]
    for _, rows in log.groupby("stage"):
        assert rows["step"].is_monotonic_increasing and rows["step"].is_unique
        assert rows["loss"].notna().any() and rows["validation_loss"].notna().any()
    coded = log[log["stage"].str.startswith("vqvae")].dropna(subset="perplexity")
    assert set(coded["stage"]) == {"vqvae_3t", "vqvae_7t"}
    assert coded["perplexity"].between(1, 16).all()
    # most of the codes that one batch gave were dead and were moved
    assert (coded["restarted_codes"] > 0).any()


def test_a_log_goes_on_where_the_training_does(tmp_path):
    log = StageLog(tmp_path / "log.jsonl")
    for step in range(5):
        log.write(step, {"loss": step / 3})
    with open(log.path, "a") as file:
        file.write('{"step": 5, "lo')  # where a kill struck
    log.go_on_from(3)
    log.write(3, {"loss": 7.0})
    rows = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3] and rows[3]["loss"] == 7
