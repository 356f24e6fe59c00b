"""Training: every stage for a few steps, resume, and what the losses mean."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dmri7t.cli.model import main
from dmri7t.errors import InputError, ModelError
from dmri7t.models.bundle import check_bundle
from dmri7t.models.translator import Translator
from dmri7t.simulation.patches import draw_patches
from dmri7t.training.data import Item, Patches, root_scale
from dmri7t.training.pairs import load_pairs
from dmri7t.training.pool import Example, fill_pool, load_pool
from dmri7t.training.recipe import read_recipe
from dmri7t.training.stages import masked_error
from dmri7t.training.train import Training


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [Example.from_patch(p) for seed in range(2) for p in draw_patches(seed, 16, n_scans=2)]


def short(name: str, steps: int = 3) -> object:
    """Recipe with tiny networks and few steps."""
    recipe = read_recipe(name)
    networks = {k: dict(v) for k, v in recipe.networks.items()}
    for settings in networks.values():
        if "width" in settings:
            settings |= {"width": 8, "blocks": 1}
        if "codes" in settings:
            settings |= {"channels": [8] * len(settings["channels"]), "codes": 16}
        if "latent_channels" in settings:
            settings |= {"channels": [8, 16]}
    stages = {
        k: {**v, "steps": steps, "batch": 2, **({"examples": 2} if "examples" in v else {})}
        for k, v in recipe.stages.items()
    }
    sampler = {**recipe.sampler, "steps": 3, "samples": 1}
    return attrs.evolve(recipe, networks=networks, stages=stages, sampler=sampler)


@pytest.mark.parametrize("name", ["default", "zhu2024"])
def test_every_stage_trains_and_the_bundle_loads(name, examples, tmp_path):
    Training(short(name), tmp_path, examples, examples[:2], "simulated pairs", threads=1).run()
    config = check_bundle(tmp_path)
    assert set(config["files"]) == {f"{n}.safetensors" for n in config["networks"]}
    assert "Simulated pairs" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "training_log.tsv").read_text().count("\n") >= 1
    assert config["training"]["codebooks"]["vqvae_7t"]["perplexity"] >= 1
    translator = Translator.load(tmp_path, precision="float32")
    mask = examples[0].mask
    rish = torch.from_numpy(examples[0].rish[:, mask].astype(np.float32)) ** 2
    encoded = translator.encode(rish, 0.1 * rish, mask, [2, 2, 2], 1000, 30)
    decoded = translator.decode(encoded, translator.diffuse(encoded, seed=1), mask)
    assert torch.isfinite(decoded["rish"]).all()


def test_finished_stages_are_kept_and_the_rest_goes_on(examples, tmp_path):
    recipe = short("default")
    Training(recipe, tmp_path, examples, examples[:2], "simulated pairs", threads=1).run()
    kept = load_file(tmp_path / "training" / "mean.safetensors")
    (tmp_path / "training" / "super_resolution.safetensors").unlink()
    Training(recipe, tmp_path, examples, examples[:2], "simulated pairs", threads=1).run()
    again = load_file(tmp_path / "mean.safetensors")
    assert all(torch.equal(kept[k], again[k]) for k in kept)
    assert (tmp_path / "training" / "super_resolution.safetensors").exists()


def test_the_mean_learns(examples, tmp_path):
    """A hundred steps on two blocks lower the loss on them well below that of doing nothing."""
    recipe = short("default", 100)
    training = Training(recipe, tmp_path, examples, examples[:2], "simulated pairs", threads=1)
    data = Patches(training.items, training.config["scale"], turn=False)
    batch = torch.utils.data.default_collate([data[i] for i in range(len(data))])
    mask = batch["stack"][:, 9:10]
    before = masked_error(batch["stack"][:, 3:6], batch["target"], mask)
    training._fit("mean", recipe.stages["mean"])
    after = masked_error(
        training.translator.mean(batch["stack"], batch["conditions"]), batch["target"], mask
    )
    assert after < before - 0.3


def test_error_is_zero_floor_for_the_truth_and_grows():
    target, mask = torch.rand(2, 3, 8, 8, 8), torch.ones(2, 1, 8, 8, 8)
    none = masked_error(target, target, mask)
    some = masked_error(target + 0.1, target, mask)
    more = masked_error(target + 0.2, target, mask)
    assert none < some < more
    hidden = target.clone()
    hidden[..., 0] += 5
    assert masked_error(hidden, target, mask) == none  # the border does not count


def test_turning_an_example_turns_all_of_it_alike(examples):
    """The regression from itself: a turned target still fits its turned input."""
    scale = root_scale(examples)
    torch.manual_seed(0)
    plain = Patches([Item(examples[0])], scale, turn=False)[0]
    turned = Patches([Item(examples[0])], scale, turn=True)[0]
    assert plain["target"].sum() == pytest.approx(float(turned["target"].sum()), rel=1e-5)
    pairing = [(d["stack"][:3] * d["target"]).sum() for d in (plain, turned)]
    assert pairing[0] == pytest.approx(float(pairing[1]), rel=1e-4)


def test_pool_is_resumed_and_read_in_order(tmp_path):
    fill_pool(tmp_path, [7])
    first = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("*.npz")}
    fill_pool(tmp_path, [7])
    assert first == {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("*.npz")}
    assert len(load_pool(tmp_path, 7, 1)) == 2 and not load_pool(tmp_path, 8, 1)


def test_a_labs_own_pairs_make_examples(tmp_path):
    main(
        [
            "simulate",
            str(tmp_path),
            "--subjects",
            "2",
            "--voxel-size",
            "5",
            "--voxel-size-7t",
            "4.2",
            "--directions",
            "15",
            "--b0s",
            "2",
        ]
    )
    train, validation = load_pairs(tmp_path)
    assert train and validation
    example = train[0]
    assert example.ratio == pytest.approx(0.84)
    both = example.mask & (example.target[0] > 0)
    correlation = np.corrcoef(
        example.rish[0][both].astype(float), example.target[0][both].astype(float)
    )
    assert correlation[0, 1] > 0.5  # the pair shows the same anatomy


def test_too_few_pairs_are_refused(tmp_path):
    main(
        [
            "simulate",
            str(tmp_path),
            "--subjects",
            "1",
            "--voxel-size",
            "8",
            "--voxel-size-7t",
            "7",
            "--directions",
            "12",
        ]
    )
    with pytest.raises(InputError, match="training needs two"):
        load_pairs(tmp_path)


def test_unknown_recipe_names_those_that_ship():
    with pytest.raises(ModelError, match="default, zhu2024"):
        read_recipe("nothing")
