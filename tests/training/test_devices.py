"""Two processes that train together make what one makes of batches twice as large."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from training.tiny import train_here, train_to_end, write_recipe

from dmri7t.cli.model import main
from dmri7t.models.bundle import check_bundle
from dmri7t.training.team import Team, default_threads

TWO = ("--devices", "2", "--accelerator", "cpu")


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pool")


def validation_losses(model: Path) -> list[float]:
    log = pd.read_csv(model / "training_log.tsv", sep="\t")
    return log["validation_loss"].dropna().tolist()


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch(pool, tmp_path):
    losses = {}
    for name, batch, more in (("two", 2, TWO), ("one", 4, ()), ("half", 2, ())):
        recipe = write_recipe(tmp_path / f"{name}.toml", "regression", 24, batch)
        (train_to_end if more else train_here)(recipe, tmp_path / name, "--pool", pool, *more)
        losses[name] = torch.tensor(validation_losses(tmp_path / name))
    gap = (losses["two"] - losses["one"]).abs().max()
    other = (losses["half"] - losses["one"]).abs().max()
    # bfloat16 and the order of sums differ a little, other examples much
    assert gap < 0.2 * other, (gap, other)
    check_bundle(tmp_path / "two")


@pytest.mark.slow
def test_codebooks_count_the_latents_of_both_processes(pool, tmp_path):
    counted = {}
    for name, more in (("two", TWO), ("one", ())):
        recipe = write_recipe(tmp_path / "tiny.toml", "direct")
        (train_to_end if more else train_here)(recipe, tmp_path / name, "--pool", pool, *more)
        check_bundle(tmp_path / name)
        saved = torch.load(tmp_path / name / "training/vqvae_3t/last.ckpt", weights_only=False)
        state = saved["stage"]
        counted[name] = float(state["network.quantizer.quantizer.ema_cluster_size"].sum())
    assert counted["two"] / counted["one"] == pytest.approx(2, rel=0.05)


def test_a_share_of_the_work_for_each():
    team = [Team(devices=2, nodes=2, rank=rank) for rank in range(4)]
    shares = [list(member.share(range(10))) for member in team]
    assert sorted(i for share in shares for i in share) == list(range(10))
    assert [member.leads for member in team] == [True, False, False, False]
    assert default_threads(team[0]) <= default_threads(Team())


def test_more_gpus_than_there_are_is_one_line(tmp_path, capsys):
    recipe = write_recipe(tmp_path / "tiny.toml")
    many = str(torch.cuda.device_count() + 1)
    with pytest.raises(SystemExit, match="2"):
        main(["train", str(recipe), str(tmp_path), "--accelerator", "cuda", "--devices", many])
    assert f"--devices {many}: torch sees" in capsys.readouterr().err
