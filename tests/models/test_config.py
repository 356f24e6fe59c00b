"""The description of a model: what is written is read again, and what is wrong is one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import attrs
import pytest
import torch

from dmri7t.errors import ModelError
from dmri7t.models import inputs
from dmri7t.models.bundle import ZOO, check_bundle, write_bundle
from dmri7t.models.config import (
    CONFIG,
    N_CONDITIONS,
    N_FEATURES,
    N_PLAIN,
    N_REFINED,
    ModelConfig,
    read_config,
)
from dmri7t.models.fitted import ForecastFit, Shares, TrainingRecord, Weights
from dmri7t.models.forecast import FEATURES
from dmri7t.models.networks import Networks, ResidualNet, Vqvae
from dmri7t.models.plain import from_plain, to_plain
from dmri7t.models.translator import build_networks
from dmri7t.models.uncertainty import TERMS
from dmri7t.signal.describe import Description

SHIPPED = sorted(path.parent.name for path in ZOO.glob(f"*/{CONFIG}"))

REMOVED = object()
"""Stands for a key that is taken out."""


def changed(values: dict, key: str, value: object) -> dict:
    """Plain values with another one at a key such as ``networks.mean.width``."""
    values = json.loads(json.dumps(values))
    *parents, last = key.split(".")
    table = values
    for parent in parents:
        table = table[parent]
    if value is REMOVED:
        del table[last]
    else:
        table[last] = value
    return values


@pytest.fixture
def written(calibrated_model, tmp_path):
    """Writes a changed description into a copy of a model, and gives its folder."""

    def write(key: str, value: object) -> Path:
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        values = json.loads((calibrated_model / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(changed(values, key, value)))
        return folder

    return write


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_read_and_written_the_same(name):
    config = read_config(ZOO / name)
    assert config.name == name
    text = (ZOO / name / CONFIG).read_text()
    assert json.dumps(config.to_dict(), indent=2) + "\n" == text
    assert ModelConfig.from_dict(json.loads(text)) == config
    assert {f"{network}.safetensors" for network in config.networks} <= set(config.files)


@pytest.mark.parametrize("name", SHIPPED)
def test_derived_channels_fit_the_weights_that_ship(name):
    from safetensors.torch import load_file

    config = read_config(ZOO / name)
    for network, module in build_networks(config).items():
        state = load_file(ZOO / name / f"{network}.safetensors")
        assert {k: v.shape for k, v in state.items()} == {
            k: v.shape for k, v in module.state_dict().items()
        }


def test_hand_counted_channels_of_the_default():
    config = read_config(ZOO / "default")
    assert {name: config.channels(name) for name in config.networks} == {
        "mean": (29, 6),
        "vqvae_3t": (3, 3),
        "vqvae_7t": (3, 3),
        "diffusion": (48, 8),
        "super_resolution": (18, 3),
    }
    assert read_config(ZOO / "cnn").channels("mean") == (10, 6)


def test_counts_are_those_of_what_networks_are_given():
    shape = (1, 3, 4, 4, 4)
    maps = torch.rand(shape), torch.rand(shape), torch.rand(1, 9, 4, 4, 4)
    stack = inputs.features(*maps, torch.ones(1, 1, 4, 4, 4), torch.ones(3))
    numbers = inputs.conditions(Description([2.0] * 3, 1000, 30, 0.05, 1.0, [0.0] * 3))
    assert stack.shape[1] == N_FEATURES and len(numbers) == N_CONDITIONS
    assert inputs.plain(stack).shape[1] == N_PLAIN
    refined = inputs.refinement_stack(maps[0], maps[1], stack[:, -1:], numbers[None], [0.84])
    assert refined.shape[1] == N_REFINED
    assert len(get_args(Weights)) == len(TERMS)
    forecast = attrs.fields_dict(ForecastFit)["weights"].type
    assert forecast.count("float") == len(FEATURES)


def test_a_finished_description_goes_through_json(calibrated_model):
    config = check_bundle(calibrated_model)
    again = ModelConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config and again.calibration == config.calibration
    halved = attrs.evolve(config, shares=Shares(samples=(0.5, 0.0, 1.0)))
    assert ModelConfig.from_dict(halved.to_dict()).shares.samples == (0.5, 0.0, 1.0)


def test_whoever_says_nothing_of_shares_takes_everything(written):
    config = read_config(written("shares", REMOVED))
    assert config.shares.samples == config.shares.super_resolution == (1.0, 1.0, 1.0)


WRONG = [
    ("name", REMOVED, "name is missing"),
    ("files", REMOVED, "files missing"),
    ("scale", REMOVED, "scale missing"),
    ("training", REMOVED, "training missing"),
    ("networks", REMOVED, "networks is missing"),
    ("networks.mean.width", REMOVED, "networks.mean: width is missing"),
    ("networks.mean.kind", REMOVED, "networks.mean: kind is missing, should be one of unet, resid"),
    ("networks.mean.kind", "transformer", "networks.mean.kind is 'transformer', should be one of"),
    ("networks.mean.kind", ["unet"], r"networks.mean.kind is \['unet'\], should be one of unet"),
    ("networks.mean.width", "eight", "networks.mean.width is 'eight', should be a whole number"),
    ("networks.mean.width", 8.5, "networks.mean.width is 8.5, should be a whole number"),
    ("networks.mean.width", True, "networks.mean.width is True, should be a whole number"),
    ("networks.mean.width", 0, "networks.mean: 'width' must be >= 1: 0"),
    ("networks.mean.in_channels", 29, "networks.mean: unknown key in_channels"),
    ("networks.mean", None, "networks.mean is null, should be a table"),
    ("networks.mean", [1], r"networks.mean is \[1\], should be a table"),
    ("networks.mean", REMOVED, "networks: mean missing, of the form residual"),
    ("networks.diffusion", REMOVED, "networks: diffusion missing, of the form residual"),
    ("networks.discriminator", {"channels": [8]}, "networks: unknown key discriminator"),
    ("networks.vqvae_3t.channels", [], "networks.vqvae_3t"),
    ("networks.vqvae_3t.channels", [8, 8], "networks: vqvae_3t and vqvae_7t have not as many"),
    ("networks.vqvae_7t.channels", 8, "networks.vqvae_7t.channels is 8, should be a list"),
    ("networks.vqvae_3t.groups", 3, "networks.vqvae_3t: 'groups' is 3, which does not divide"),
    ("networks.diffusion.features", 8, "networks: a guess .features. is for the direct form"),
    ("form", "regression", "networks: the form regression has no vqvae_3t, vqvae_7t, diffusion"),
    ("form", "direct", "networks: the form direct has no mean"),
    ("form", "adversarial", "form is 'adversarial', should be one of residual, direct, regression"),
    ("sampler", REMOVED, "sampler: the form residual needs a sampler"),
    ("sampler", None, "sampler is null, should be a table"),
    ("sampler.steps", None, "sampler.steps is null, should be a whole number"),
    ("sampler.steps", 0, "sampler: 'steps' must be >= 1: 0"),
    ("sampler.trust", 0.5, "sampler: unknown key trust"),
    ("sampler.start", "inversion", "sampler: 'start' is inversion, which the scheduler ddim"),
    ("scale", [1.0, 0.3], "scale has 2 entries, should have 3"),
    ("scale", [1.0, 0.3, float("nan")], r"scale\[2\] is nan, should be a finite number"),
    ("scale", [1.0, 0.3, float("inf")], r"scale\[2\] is inf, should be a finite number"),
    ("scale", [1.0, 0.3, 0.0], "'scale' must be > 0"),
    ("mirrors", 4, "'mirrors' must be in range"),
    ("latents.vqvae_7t", REMOVED, "latents.vqvae_7t missing"),
    ("latents.vqvae_7t.mean", [0.0], "latents.vqvae_7t: mean and sd should have 4 entries"),
    ("latents.9t", {"mean": [], "sd": []}, "latents: unknown key 9t .there are vqvae_3t, vqvae_7t"),
    ("ranges.bval", [3000, 700], "ranges.bval: 3000 is above 700"),
    ("ranges.bval", REMOVED, "ranges.bval missing"),
    ("ranges.te", [1, 2], "ranges: unknown key te .there are voxel_size_mm, bval"),
    ("ranges", None, "ranges is null, should be a table"),
    ("shares.samples", [0.5, 0.5], "shares.samples has 2 entries, should have 3"),
    ("shares.samples", [2.0, 0.5, 0.5], "shares: 'samples' must be <= 1: 2.0"),
    ("calibration.intervals.weights", [[0.0] * 5] * 2, "calibration.intervals.weights has 2 ent"),
    (
        "calibration.intervals.weights",
        [[0.0] * 4] * 3,
        r"weights\[0\] has 4 entries, should have 5",
    ),
    ("calibration.forecast.R0.weights", [0.0], "calibration.forecast.R0.weights has 1 entries"),
    ("calibration.check", REMOVED, "calibration: check is missing"),
    ("training.source", "", "training.source missing"),
    ("training.stages", {"mean": {"steps": 1}}, "training.stages.mean: batch is missing"),
    ("files", {"mean.safetensors": 3}, "files.mean.safetensors is 3, should be a text"),
    ("figures", {}, "unknown key figures"),
    ("format", 3, "format is 3, this version reads 2"),
]


@pytest.mark.parametrize(("key", "value", "words"), WRONG)
def test_what_is_wrong_is_one_line_with_file_key_and_remedy(written, key, value, words):
    folder = written(key, value)
    with pytest.raises(ModelError, match=words) as stopped:
        read_config(folder)
    message = str(stopped.value)
    assert message.startswith(f"{folder / CONFIG}: ") and "\n" not in message
    assert "copy the model's folder again or train it anew" in message


def test_a_model_of_an_earlier_version_says_how_to_go_on(written):
    with pytest.raises(ModelError, match=r"earlier version of dmri7t.*train the model anew"):
        read_config(written("format", REMOVED))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\udcff"])
def test_what_is_no_description_at_all_is_one_line(tmp_path, text):
    (tmp_path / CONFIG).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ModelError, match=r"config\.json: not a (readable|usable) model desc") as e:
        read_config(tmp_path)
    assert "\n" not in str(e.value)


def test_no_folder_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere.config\.json: not a readable model desc"):
        read_config(tmp_path / "nowhere")


def test_an_unfinished_model_is_not_written(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    before = (folder / CONFIG).read_bytes()
    untrained = attrs.evolve(check_bundle(folder), training=TrainingRecord())
    with pytest.raises(ValueError, match=r"training\.source missing"):
        write_bundle(folder, untrained)
    (folder / "diffusion.safetensors").unlink()
    with pytest.raises(ValueError, match=r"files\.diffusion\.safetensors missing"):
        write_bundle(folder, read_config(folder))
    assert (folder / CONFIG).read_bytes() == before


def test_a_changed_record_is_checked_as_a_read_one(tiny_model):
    config = read_config(tiny_model)
    with pytest.raises(ValueError, match="needs a sampler"):
        attrs.evolve(config, sampler=None)
    with pytest.raises(ValueError, match="diffusion missing"):
        attrs.evolve(config, networks=attrs.evolve(config.networks, diffusion=None))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.name = "other"


def test_paddings_follow_from_the_networks(tiny_model):
    config = read_config(tiny_model)
    # one halving by the VQ-VAE, one by the diffusion network
    assert (config.factor, config.multiple) == (2, 4)
    deep = attrs.evolve(config.networks.vqvae_7t, channels=(8, 8))
    networks = attrs.evolve(config.networks, vqvae_3t=deep, vqvae_7t=deep)
    assert attrs.evolve(config, networks=networks).multiple == 8
    assert read_config(ZOO / "cnn").multiple == 4


def test_networks_are_told_by_name_in_the_order_of_the_stages():
    vqvae = Vqvae(channels=(8,), codes=4, code_size=4)
    networks = Networks(super_resolution=ResidualNet(width=4, blocks=1, limit=1.0), vqvae_3t=vqvae)
    assert list(networks) == ["vqvae_3t", "super_resolution"]
    assert networks["vqvae_3t"] is vqvae
    with pytest.raises(KeyError, match="mean"):
        networks["mean"]


def test_plain_values_leave_out_what_is_empty_only_where_that_is_allowed():
    assert to_plain(TrainingRecord(source="x")) == {"source": "x"}
    record = from_plain(TrainingRecord, {"source": "x", "data": {"seeds": 3, "patch": 1.5}})
    assert record.data == {"seeds": 3, "patch": 1.5}
    with pytest.raises(ValueError, match=r"data.seeds is \[3\], should be true or false or a who"):
        from_plain(TrainingRecord, {"data": {"seeds": [3]}})


def test_reading_needs_no_torch(tiny_model):
    code = (
        "import sys; from dmri7t.models.config import read_config; "
        f"print(read_config({str(tiny_model)!r}).name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["tiny", "False"], done.stderr
