"""Train a model by its recipe: every stage in turn, resumable, ending in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader

from dmri7t.models import inputs
from dmri7t.models.bundle import write_bundle
from dmri7t.models.card import model_card
from dmri7t.models.networks import build, codebook, quantize
from dmri7t.models.translator import KINDS, Translator
from dmri7t.simulation.acquisition import SNR_RANGE
from dmri7t.training.data import Item, Patches, root_scale
from dmri7t.training.pool import Example, describe_pool, fill_pool, load_pool
from dmri7t.training.recipe import Recipe
from dmri7t.training.stages import STAGES, freeze, latents_7t, residual

SAVE_EVERY = 100
"""Steps between checkpoints."""

SIMULATED = "simulated pairs"
"""What the card calls examples of the simulator."""

FINE = 32
"""Edge of the crops that the super-resolution network learns on, voxels."""


class Lines(L.Callback):
    """Print the loss every so often; a bar is of no use in a log file."""

    def __init__(self, every: int = 50) -> None:
        self.every = every

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        """Lightning's hook."""
        if trainer.global_step % self.every == 0:
            seen = {k: float(v) for k, v in trainer.callback_metrics.items()}
            text = "  ".join(f"{k} {v:.4g}" for k, v in seen.items())
            print(
                f"[{module.name}] step {trainer.global_step}/{trainer.max_steps}  {text}",
                flush=True,
            )


def load_data(recipe: Recipe, pool: Path) -> tuple[list[Example], list[Example]]:
    """Simulate what is missing from the pool; return examples for training and validation."""
    data = recipe.data
    parts = []
    for first, count in (
        (data["first_validation_seed"], data["validation_seeds"]),
        (data["first_seed"], data["seeds"]),
    ):
        fill_pool(pool, range(first, first + count))
        parts.append(load_pool(pool, first, count))
    return parts[1], parts[0]


class Training:
    """One run of a recipe into a folder.

    Parameters
    ----------
    recipe : Recipe
    out : Path
        The model's folder; checkpoints and logs go to its ``training``.
    examples, validation : list of Example
    source : str
        What the examples are, for the card: "simulated pairs" or the path of a data set.
    threads : int, optional
        Of torch.
    seed : int
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        examples: list[Example],
        validation: list[Example],
        source: str,
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        L.seed_everything(seed, verbose=False)
        self.recipe, self.out, self.source = recipe, Path(out), source
        self.work = self.out / "training"
        self.work.mkdir(parents=True, exist_ok=True)
        self.items = [Item(e) for e in examples]
        self.validation = [Item(e) for e in validation]
        self.config: dict[str, Any] = {
            **recipe.model,
            "networks": recipe.networks,
            "sampler": recipe.sampler,
            "scale": root_scale(examples),
            "latents": {},
        }
        device = "cuda" if torch.cuda.is_available() else "cpu"
        networks = {name: build(KINDS[name], kw) for name, kw in recipe.networks.items()}
        self.translator = Translator(self.config, networks, device)
        self.health: dict[str, Any] = {}

    def run(self) -> Path:
        """Train every stage that is not finished; write the bundle; return its folder."""
        for name, settings in self.recipe.stages.items():
            self._prepare(name, settings)
            done = self.work / f"{name}.safetensors"
            network = self.translator.networks[name]
            if done.exists():
                network.load_state_dict(load_file(done))
            else:
                if settings["steps"]:  # none: the network stays what it started from
                    self._fit(name, settings)
                save_file(_state(network), done)
            freeze(network)
            self._conclude(name)
        self._export()
        return self.out

    def _prepare(self, name: str, settings: dict[str, Any]) -> None:
        """Before a stage: start from another's weights, or generate what it learns on."""
        if "start_from" in settings:
            source = self.translator.networks[settings["start_from"]]
            self.translator.networks[name].load_state_dict(source.state_dict())
            self.translator.networks[name].requires_grad_(True)
            codebook(self.translator.networks[name]).requires_grad_(False)
        if name == "super_resolution":
            count = settings.get("examples", len(self.items))
            usual = self.config["sampler"]
            # it may learn on samples drawn at another temperature than the app's
            self.config["sampler"] = usual | {
                "temperature": settings.get("temperature", usual["temperature"])
            }
            self.items = self._generate(self.items[:count], "generated")
            self.validation = self._generate(self.validation, "generated_validation")
            self.config["sampler"] = usual

    def _conclude(self, name: str) -> None:
        """After a stage: what later ones need of it."""
        if name == "mean":
            for part in (self.items, self.validation):
                for item, batch in self._batches(part):
                    mean = self.translator.mean(batch["stack"], batch["conditions"])
                    item.mean = mean[0].cpu().numpy().astype(np.float16)
        if name.startswith("vqvae"):
            self.config["latents"][name[-2:]] = self._latent_statistics(name)
        if name == "diffusion" and self.config["form"] == "residual":
            self.config["sampler"] = self.config["sampler"] | {"gain": self._fit_gain()}

    @torch.no_grad()
    def _batches(self, items: list[Item]) -> Any:
        """Yield every item with its batch of one, as it lies."""
        data = Patches(items, self.config["scale"], turn=False)
        for i, item in enumerate(items):
            batch = {k: v[None].to(self.translator.device) for k, v in data[i].items()}
            with torch.no_grad():
                yield item, batch

    def _latent_statistics(self, name: str) -> dict[str, Any]:
        """Mean and spread of each latent channel, and how many codes are in use."""
        network = self.translator.networks[name]
        parts = []
        for _, batch in self._batches(self.items[:200]):
            if name == "vqvae_3t":
                raw = network.encode(inputs.encoder_image(batch["stack"])).float()
                parts.append(quantize(raw, codebook(network)))
            else:
                direct = self.config["form"] == "direct"
                parts.append(
                    latents_7t(self.translator, batch["target"] if direct else residual(batch))
                )
        latent = torch.cat(parts).movedim(1, -1).reshape(-1, parts[0].shape[1])
        _, counts = torch.unique(latent, dim=0, return_counts=True)
        share = counts.double() / counts.sum()
        perplexity = float(torch.exp(-(share * share.log()).sum()))
        self.health[name] = {"codes_in_use": len(counts), "perplexity": round(perplexity, 1)}
        return {
            "mean": [float(v) for v in latent.mean(0)],
            "sd": [float(v) for v in latent.std(0).clamp_min(1e-3)],
        }

    def _generate(self, items: list[Item], name: str) -> list[Item]:
        """Run the trained stages on items as the app will, and keep what comes out."""
        kept = self.work / f"{name}.npz"
        if kept.exists():
            for item, array in zip(items, np.load(kept)["root"], strict=True):
                item.generated = array
            return items
        settings = self.config["sampler"]
        for i, (item, batch) in enumerate(self._batches(items)):
            mean = batch.get("mean")
            encoded = self.translator.encode_stack(batch["stack"], batch["conditions"], mean)
            images = self._sample(encoded, settings)
            root = self.translator.combine(images, mean) * inputs.inside(batch["stack"])
            item.generated = root[0].cpu().numpy().astype(np.float16)
            if i % 50 == 0:
                print(f"[{name}] {i}/{len(items)}", flush=True)
        np.savez(kept, root=np.stack([item.generated for item in items]))
        return items

    def _sample(self, encoded: dict[str, torch.Tensor], settings: dict[str, Any]) -> torch.Tensor:
        """Decoded samples (S, B, 3, X, Y, Z) of encoded items."""
        latents = [
            self.translator.sample(
                encoded["latent"],
                encoded["condition"],
                settings["steps"],
                torch.randn_like(encoded["latent"]),
            )
            for _ in range(settings["samples"])
        ]
        return torch.stack([self.translator.decode_latent(latent) for latent in latents])

    def _fit_gain(self) -> list[float]:
        """How much of the samples' average to add to the mean, by order, between 0 and 1.

        Least squares over the validation scans, each weighted by its own error.
        """
        products, squares = torch.zeros(3), torch.zeros(3)
        for _, batch in self._batches(self.validation):
            mean = batch["mean"]
            encoded = self.translator.encode_stack(batch["stack"], batch["conditions"], mean)
            added = self._sample(encoded, self.config["sampler"]).mean(0)
            added = added * inputs.inside(batch["stack"])
            missing = residual(batch)
            error = missing.square().sum((0, 2, 3, 4)).clamp_min(1e-9)
            products += ((missing * added).sum((0, 2, 3, 4)) / error).cpu()
            squares += (added.square().sum((0, 2, 3, 4)) / error).cpu()
        gain = (products / squares.clamp_min(1e-9)).clamp(0, 1)
        return [round(float(g), 3) for g in gain]

    def _fit(self, name: str, settings: dict[str, Any]) -> None:
        """Run one stage through Lightning, from its last checkpoint if there is one."""
        fine = FINE if name == "super_resolution" else 0
        stage = STAGES[name](self.translator, name, settings)
        # a translator's networks rest in evaluation, where a codebook does not move
        self.translator.networks[name].train()
        batch = settings["batch"]
        scale = self.config["scale"]
        train = DataLoader(
            Patches(self.items, scale, fine=fine), batch, shuffle=True, drop_last=True
        )
        check = DataLoader(Patches(self.validation, scale, turn=False, fine=fine), batch)
        folder = self.work / name
        # a codebook's distances need more digits than bfloat16 has
        mixed = not name.startswith("vqvae") and self.translator.precision == "bfloat16"
        trainer = L.Trainer(
            max_steps=settings["steps"],
            accelerator="auto",
            devices=1,
            precision="bf16-mixed" if mixed else "32-true",
            logger=CSVLogger(folder, name="log", version=""),
            callbacks=[
                Lines(),
                ModelCheckpoint(
                    folder, every_n_train_steps=SAVE_EVERY, save_last=True, save_top_k=0
                ),
            ],
            check_val_every_n_epoch=None,
            val_check_interval=200,
            num_sanity_val_steps=0,
            gradient_clip_val=1.0,
            log_every_n_steps=min(10, settings["steps"]),
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        last = folder / "last.ckpt"
        trainer.fit(stage, train, check, ckpt_path=str(last) if last.exists() else None)
        self.translator.networks[name].to(self.translator.device)

    def _export(self) -> None:
        """Write the bundle: weights, config, card, and the log of the training."""
        for name, network in self.translator.networks.items():
            save_file(_state(network), self.out / f"{name}.safetensors")
        logs = []
        for name in self.recipe.stages:
            path = self.work / name / "log" / "metrics.csv"
            if path.exists():
                logs.append(pd.read_csv(path).assign(stage=name))
        if logs:
            log = pd.concat(logs)[lambda t: ["stage", *[c for c in t if c != "stage"]]]
            log.to_csv(self.out / "training_log.tsv", sep="\t", index=False, float_format="%.6g")
        described = describe_pool([item.example for item in self.items])
        if self.source == SIMULATED:
            described["snr"] = list(SNR_RANGE)
        training = {"source": self.source, "stages": self.recipe.stages, "codebooks": self.health}
        config = {
            **self.config,
            "training": training | {"data": self.recipe.data},
            "ranges": described,
        }
        write_bundle(self.out, config, model_card(config))


def _state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights as contiguous tensors on the CPU, ready for safetensors."""
    return {k: v.detach().cpu().contiguous().clone() for k, v in network.state_dict().items()}
