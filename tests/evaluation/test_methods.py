"""Rows of the tables: who has which, and that one more needs nothing beside its entry."""

from __future__ import annotations

import shutil

import attrs
import pandas as pd
import pytest
import torch

from dmri7t.cli.model import main
from dmri7t.errors import ModelError
from dmri7t.evaluation import chain, methods
from dmri7t.evaluation.chain import Estimate, interpolate_shell
from dmri7t.evaluation.methods import (
    AVERAGED,
    MODEL_ROWS,
    SWEEP,
    Method,
    ModelRow,
    all_methods,
    described_rows,
    main_methods,
    model_methods,
    plain_methods,
)
from dmri7t.evaluation.simulated import case_of, draw_blocks
from dmri7t.models.bundle import check_bundle, resolve_model
from dmri7t.models.translator import Translator, build_networks
from dmri7t.models.weighing import ask_shell
from dmri7t.signal.estimate import ShellEstimate
from dmri7t.simulation.subjects import HELD_OUT
from dmri7t.training.recipe import read_recipe


@pytest.fixture(scope="module")
def residual(tiny_model) -> Translator:
    return Translator.load(tiny_model, precision="float32")


@pytest.fixture(params=["ldm", "ldm-ft"])
def direct(request) -> tuple[str, Translator]:
    """A model of the paper's form, whose 7T VQ-VAE is the 3T one, or another."""
    config = read_recipe("zhu2024").config
    networks = build_networks(config)
    if request.param == "ldm":
        networks["vqvae_7t"].load_state_dict(networks["vqvae_3t"].state_dict())
    return request.param, Translator(config, networks)


def test_rows_of_the_defaults_form(residual):
    names = [method.name for method in all_methods([residual], torch.ones(3))]
    own = ["tiny", "tiny, B-spline", "tiny, weighed by the model", "tiny, sample", "tiny, held"]
    assert names == ["interpolation", "interpolation, plain", "mppca", "filter", "linear", *own]


def test_rows_of_the_papers_form(direct):
    name, translator = direct
    held = "zhu2024, level held"
    assert [method.name for method in model_methods(translator)] == [name, f"{name}-sr", held]
    assert held in [method.name for method in main_methods([translator])]
    del translator.networks["super_resolution"]
    assert [method.name for method in model_methods(translator)] == [name, held]


def test_the_papers_rows_are_not_held_to_the_scan():
    """The paper's chain and no more gives what the networks say; the app's row is held."""
    translator = Translator.load(resolve_model("zhu2024"), precision="float32")
    scan = case_of(next(draw_blocks(HELD_OUT.take(1), "hcp", 16))).scan
    rows = {method.name: method for method in model_methods(translator)}
    shell = scan.represent()
    resolved, held = (row.make(scan, shell, 0) for row in list(rows.values())[1:])
    estimate = ShellEstimate.as_measured(shell, scan.b0_V, "")
    encoded = translator.encode(shell)
    decoded = translator.decode(encoded, translator.diffuse(encoded.latent, seed=0))
    made = translator.super_resolve(encoded, decoded, scan.brain_out, "model", estimate)
    assert torch.equal(resolved.rish_3V, made.mean_3V)
    assert torch.equal(held.rish_3V[1:], resolved.rish_3V[1:])
    plain_V = interpolate_shell(scan, shell).rish_3V[0]
    off, near = (float((e.rish_3V[0] - plain_V).square().mean()) for e in (resolved, held))
    assert near < 0.6 * off


def test_steps_and_samples_are_compared_of_the_whole_model(direct):
    _, translator = direct
    swept = [m.name for m in model_methods(translator, sweep=True)][3:]
    assert len(swept) == 2 * len(SWEEP) and len(set(swept)) == len(swept)
    assert swept[0] == "zhu2024, level held, 1 steps, one sample"
    assert swept[-1] == f"zhu2024, level held, 50 steps, mean of {AVERAGED}"


def test_rows_of_a_model_share_what_is_made_of_a_scan(residual, monkeypatch):
    """The scan is asked once for all rows, and answers no other than one row alone would get."""
    asked = []

    def counted(translator, scan, voxel_out, weighing):
        asked.append((translator, weighing))
        return ask_shell(translator, scan, voxel_out, weighing)

    monkeypatch.setattr(chain, "ask_shell", counted)
    scan = case_of(next(draw_blocks(HELD_OUT.take(1), "hcp", 16))).scan
    rows, shell = model_methods(residual), scan.represent()
    shared = [row.make(scan, shell, 0) for row in rows]
    assert len(set(asked)) == len(asked) < len(rows)
    for row, answer in zip(rows, shared, strict=True):
        alone = attrs.evolve(scan)
        own = row.make(alone, alone.represent(), 0)
        assert torch.equal(answer.rish_3V, own.rish_3V), row.name
        assert torch.equal(answer.sh_CV, own.sh_CV), row.name
    before = len(asked)
    scan.forget()
    rows[0].make(scan, shell, 0)
    assert len(asked) == before + 1


def test_every_row_is_described():
    assert len({name for name, _ in described_rows()}) == len(described_rows())
    assert all(meaning for _, meaning in described_rows())


def test_two_models_of_one_name_are_refused(residual):
    with pytest.raises(ModelError, match="name of its own"):
        all_methods([residual, residual], torch.ones(3))


def test_a_row_more_is_an_entry_more(tiny_model, tmp_path, monkeypatch):
    """Both kinds of rows reach every table, the card and the documentation."""

    def doubled(scan, shell, seed) -> Estimate:
        plain = interpolate_shell(scan, shell)
        return attrs.evolve(plain, rish_3V=2 * plain.rish_3V)

    def plain_and_doubled(factor_3) -> list[Method]:
        return [*plain_methods(factor_3), Method("doubled", doubled, "twice as much")]

    again = ModelRow(
        "MODEL, doubled",
        lambda model: model.config.form == "residual",
        lambda model, scan, shell, seed: doubled(scan, shell, seed),
        "twice as much, again",
    )
    monkeypatch.setattr(methods, "plain_methods", plain_and_doubled)
    monkeypatch.setattr(methods, "MODEL_ROWS", (*MODEL_ROWS, again))
    model, out = shutil.copytree(tiny_model, tmp_path / "model"), tmp_path / "out"
    command = f"evaluate {model} --output {out} --subjects 1 --size 16 --threads 1 --record"
    main(command.split())
    rows = {"doubled", "tiny, doubled"}
    for name in ("table", "subjects"):
        table = pd.read_csv(out / f"{name}.tsv", sep="\t")
        assert rows <= set(table["method"])
    table = table.set_index("method")
    assert table.loc["doubled", "NMSE R0"] > 0.5 > table.loc["interpolation", "NMSE R0"]
    metrics = check_bundle(model).metrics
    for name in rows:
        assert f"| {name} |" in (out / "table.md").read_text()
        assert f"| {name} |" in (model / "README.md").read_text()
        assert metrics.nmse[name]["R0"].mean > 0.5
    assert {"doubled", "MODEL, doubled"} <= {name for name, _ in described_rows()}
