"""Training: every stage for a few steps, resume, and what the losses mean."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from shells import shell_with

from dmri7t.errors import ModelError
from dmri7t.models.bundle import check_bundle
from dmri7t.models.fitted import SIMULATED, ScansRecord
from dmri7t.models.networks import Networks
from dmri7t.models.translator import Translator
from dmri7t.signal.grids import Grid
from dmri7t.signal.shell import Brain
from dmri7t.simulation.patches import draw_patches
from dmri7t.training.data import Item, Patches, Positions, Stream, TrainingData, root_scale
from dmri7t.training.example import TrainingExample
from dmri7t.training.loss import masked_error
from dmri7t.training.pool import fill_pool, pool_paths
from dmri7t.training.recipe import Recipe, read_recipe
from dmri7t.training.settings import Stages
from dmri7t.training.train import Training


@pytest.fixture(scope="module")
def examples() -> list[TrainingExample]:
    return [
        TrainingExample.from_patch(p)
        for seed in range(2)
        for p in draw_patches(seed, 16, n_scans=2)
    ]


@pytest.fixture
def data(examples) -> TrainingData:
    return TrainingData(examples, examples[:2], SIMULATED)


def short(name: str, steps: int = 3) -> Recipe:
    """Recipe with tiny networks and few steps."""
    recipe = read_recipe(name)
    small = {}
    for network in recipe.config.networks:
        record = recipe.config.networks[network]
        changes = {
            "unet": {"channels": (8, 16)},
            "residual": {"width": 8, "blocks": 1},
            # as many as a block has numbers
            "vqvae": {"channels": (24,) * len(getattr(record, "channels", ())), "codes": 16},
            "diffusion": {"channels": (8, 16)},
        }
        small[network] = attrs.evolve(record, **changes[record.kind])
    config = attrs.evolve(recipe.config, networks=Networks(**small))
    if config.sampler:
        config = attrs.evolve(config, sampler=attrs.evolve(config.sampler, steps=3, samples=1))
    stages = {stage: getattr(recipe.stages, stage) for stage in recipe.stages}
    for stage, settings in stages.items():
        few = {"examples": 2} if stage == "super_resolution" else {}
        stages[stage] = attrs.evolve(settings, steps=steps, batch=2, **few)
    return attrs.evolve(recipe, config=config, stages=Stages(**stages))


@pytest.mark.parametrize("name", ["cnn", "default", "gan", "ldm", "zhu2024"])
def test_every_stage_trains_and_the_bundle_loads(name, examples, data, tmp_path):
    Training(short(name), tmp_path, data, threads=1).run()
    config = check_bundle(tmp_path)
    assert set(config.files) == {f"{n}.safetensors" for n in config.networks}
    assert "Simulated pairs" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "training_log.tsv").read_text().count("\n") > len(tuple(config.networks))
    assert (tmp_path / "training_curves.png").read_bytes().startswith(b"\x89PNG")
    for network in {"vqvae_3t", "vqvae_7t"} & set(config.networks):
        assert 1 <= config.training.codebooks[network].perplexity <= 16
    assert not config.training.subjects  # simulated ones are nobody
    translator = Translator.load(tmp_path, precision="float32")
    mask = examples[0].mask
    rish = torch.from_numpy(examples[0].rish[:, mask].astype(np.float32)) ** 2
    description = examples[0].description
    brain = Brain(mask, Grid(mask.shape, np.diag([*description.voxel_sizes, 1.0])))
    encoded = translator.encode(shell_with(rish, brain, description))
    decoded = translator.decode(encoded, translator.diffuse(encoded.latent, seed=1))
    assert torch.isfinite(decoded.samples_S3V).all()


def test_finished_stages_are_kept_and_the_rest_goes_on(data, tmp_path):
    recipe = short("default")
    Training(recipe, tmp_path, data, threads=1).run()
    kept = load_file(tmp_path / "training" / "mean.safetensors")
    (tmp_path / "training" / "super_resolution.safetensors").unlink()
    Training(recipe, tmp_path, data, threads=1).run()
    again = load_file(tmp_path / "mean.safetensors")
    assert all(torch.equal(kept[k], again[k]) for k in kept)
    assert (tmp_path / "training" / "super_resolution.safetensors").exists()


def test_another_training_does_not_go_on_in_the_same_folder(data, tmp_path):
    recipe = short("cnn")
    Training(recipe, tmp_path, data, threads=1)
    with pytest.raises(ModelError, match="holds a training with another recipe, seed or data"):
        Training(recipe, tmp_path, data, threads=1, seed=1)


def test_the_mean_learns(data, tmp_path):
    """A hundred steps on two blocks lower the loss on them well below that of doing nothing."""
    recipe = short("default", 100)
    training = Training(recipe, tmp_path, data, threads=1)
    stage = training.stage("mean")
    patches = stage.patches(data.training)
    batch = torch.utils.data.default_collate([patches[i] for i in range(len(patches))])
    mask = batch["stack"][:, 9:10]
    before = masked_error(batch["stack"][:, 3:6], batch["target"], mask)
    training.train(stage)
    after = masked_error(
        training.translator.mean(batch["stack"], batch["conditions"]), batch["target"], mask
    )
    assert after < before - 0.15


def test_bfloat16_learns_the_same_but_for_rounding(data, tmp_path):
    trained = {}
    for precision in ("float32", "bfloat16"):
        training = Training(short("default"), tmp_path / precision, data, threads=1)
        training.translator.precision = precision
        # a codebook's distances need more digits
        assert not training.stage("vqvae_3t").mixed
        stage = training.stage("mean")
        before = torch.cat([p.detach().flatten() for p in stage.network.parameters()]).clone()
        training.train(stage)
        trained[precision] = torch.cat([p.detach().flatten() for p in stage.network.parameters()])
        assert stage.mixed == (precision == "bfloat16")
    assert trained["bfloat16"].dtype == torch.float32
    rounding = (trained["bfloat16"] - trained["float32"]).norm()
    assert 0 < rounding < 0.5 * (trained["float32"] - before).norm()


def test_a_step_that_would_spoil_the_weights_is_refused(examples, tmp_path):
    spoilt = [attrs.evolve(e, rish=np.full_like(e.rish, np.inf)) for e in examples]
    data = TrainingData(spoilt, examples[:2], SIMULATED)
    training = Training(short("cnn"), tmp_path, data, threads=1)
    with pytest.raises(ModelError, match="mean, step 1: a gradient is infinite or not a number"):
        training.train(training.stage("mean"))


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
    items = [Item(example) for example in examples]
    patches = Patches(items[:1], root_scale(items))
    plain, turned = patches[0], patches.draw(0, torch.Generator().manual_seed(0))
    assert not torch.equal(plain["target"], turned["target"])
    assert plain["target"].sum() == pytest.approx(float(turned["target"].sum()), rel=1e-5)
    pairing = [(d["stack"][:3] * d["target"]).sum() for d in (plain, turned)]
    assert pairing[0] == pytest.approx(float(pairing[1]), rel=1e-4)


def test_examples_in_files_are_those_in_memory(examples, tmp_path):
    paths = [tmp_path / f"{i}.npz" for i in range(len(examples))]
    for example, path in zip(examples, paths, strict=True):
        example.save(path)
    items, files = ([Item(source) for source in sources] for sources in (examples, paths))
    assert root_scale(files) == root_scale(items)
    held, kept = (Patches(s[1:2], root_scale(items))[0] for s in (items, files))
    assert all(torch.equal(held[name], kept[name]) for name in held)


def test_a_stream_hangs_on_seed_and_place_only(examples):
    items = [Item(example) for example in examples]
    patches = Patches(items, root_scale(items))
    first, again, other = (Stream(patches, seed) for seed in (3, 3, 4))
    for epoch in range(3):
        order = [first.example_at(4 * epoch + i) for i in range(4)]
        assert sorted(order) == [0, 1, 2, 3]
    # asked in another order, the answer is the same
    late = again[9]
    assert torch.equal(first[9]["stack"], late["stack"])
    assert any(not torch.equal(first[i]["stack"], other[i]["stack"]) for i in range(8))


def test_processes_share_every_step():
    alone = list(Positions(5, 4))
    shared = [list(Positions(5, 2, rank, 2)) for rank in range(2)]
    assert [a + b for a, b in zip(*shared, strict=True)] == alone
    resumed = Positions(5, 4, start=3)
    assert list(resumed) == alone[3:] and len(resumed) == 2


def test_pool_is_resumed_and_read_in_order(tmp_path):
    fill_pool(tmp_path, [7])
    first = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("*.npz")}
    fill_pool(tmp_path, [7])
    assert first == {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("*.npz")}
    assert len(pool_paths(tmp_path, range(7, 8))) == 2 and not pool_paths(tmp_path, range(8, 9))


def test_fine_tuning_may_leave_the_latents_as_they_are(data, tmp_path):
    """Decoder alone: the 7T encoder and codebook are those of 3T, to the bit."""
    training = Training(short("zhu2024", 6), tmp_path, data, threads=1)
    for name in ("vqvae_3t", "vqvae_7t"):
        training.train(training.stage(name))
    three, seven = (training.translator.networks[n].state_dict() for n in ("vqvae_3t", "vqvae_7t"))
    moved = {key.split(".")[0] for key in three if not torch.equal(three[key], seven[key])}
    assert moved == {"decoder"}


def test_what_is_kept_is_the_average_over_the_steps(data, tmp_path):
    """Against an average of a training without one, whose weights are the same at every step."""
    recipe = short("ldm", 5)
    stages = recipe.stages
    kept = {}
    for stays in (0.0, 0.5):
        settings = attrs.evolve(stages.diffusion, average=stays, save_every=1, validate_every=2)
        changed = attrs.evolve(recipe, stages=attrs.evolve(stages, diffusion=settings))
        training = Training(changed, tmp_path / str(stays), data, threads=1)
        for name in training.recipe.stages:
            stage, history = training.stage(name), []
            if name == "diffusion":
                stage.register_forward_pre_hook(
                    lambda stage, _, history=history: (
                        history.append(stage.network.unet.out[-1].conv.weight.detach().clone())
                        if stage.training
                        else None
                    )
                )
            training.train(stage)
            stage.network.requires_grad_(False).eval()
            stage.conclude(training.work, training.data)
        kept[stays] = [*history, stage.network.unet.out[-1].conv.weight.detach().clone()]
    average = kept[0.0][0].clone()
    for step, weights in enumerate(kept[0.0][1:], 1):
        average.lerp_(weights, 1 - min(0.5, step / (step + 10)))
    torch.testing.assert_close(kept[0.5][-1], average)
    assert not torch.equal(average, kept[0.0][-1])


def test_weights_may_be_stored_by_half(data, tmp_path):
    recipe = short("ldm", 2)
    settings = attrs.evolve(recipe.stages.diffusion, stored="float16")
    recipe = attrs.evolve(recipe, stages=attrs.evolve(recipe.stages, diffusion=settings))
    Training(recipe, tmp_path, data, threads=1).run()
    kinds = {
        name: {str(value.dtype) for value in load_file(tmp_path / f"{name}.safetensors").values()}
        for name in ("vqvae_3t", "diffusion")
    }
    assert kinds == {"vqvae_3t": {"torch.float32"}, "diffusion": {"torch.float16"}}
    loaded = Translator.load(tmp_path).networks["diffusion"]
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}


@pytest.mark.parametrize("from_scans", [False, True])
def test_answers_are_kept_where_another_stage_learns_from_them(data, tmp_path, from_scans):
    """From single scans none does."""
    training = Training(short("default", 1), tmp_path, data, threads=1)
    given = (
        attrs.evolve(data, scans=ScansRecord(dataset="lab", subjects=1, scans=1, examples=4))
        if from_scans
        else data
    )
    training.stage("mean").conclude(training.work, given)
    kept = list((tmp_path / "training/mean").rglob("*.npy"))
    assert len(kept) == (0 if from_scans else len(data.training) + len(data.validation))
