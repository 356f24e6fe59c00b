"""Train a model by its recipe: every stage in turn, resumable, ending in a bundle.

Several processes may train together: what is made once (weights, means, samples, statistics)
goes through files of the first, or is made in shares.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import lightning as L
import numpy as np
import torch
from safetensors.torch import load_file

from dmri7t.errors import ModelError
from dmri7t.files import whole_file
from dmri7t.models import inputs
from dmri7t.models.bundle import save_weights, write_bundle
from dmri7t.models.card import model_card
from dmri7t.models.networks import build, codebook, quantize
from dmri7t.models.translator import KINDS, Translator
from dmri7t.simulation.acquisition import SNR_RANGE
from dmri7t.training.data import Item, Patches, derive_seed, root_scale
from dmri7t.training.fit import fit_stage
from dmri7t.training.log import draw_curves, join_logs
from dmri7t.training.pool import Example, describe_pool, fill_pool, pool_paths
from dmri7t.training.recipe import Recipe
from dmri7t.training.splits import Split
from dmri7t.training.stages import STAGES, freeze, latents_7t, residual
from dmri7t.training.team import Team, default_threads

SIMULATED = "simulated pairs"
"""What the card calls examples of the simulator."""

FINE = 32
"""Largest edge of the crops that the super-resolution network learns on, voxels."""

COUNTED = 200
"""Examples that the statistics of latents are taken over."""


def load_data(
    recipe: Recipe, pool: Path, team: Team | None = None
) -> tuple[list[Path], list[Path]]:
    """Simulate what is missing from the pool; return examples for training and validation.

    Parameters
    ----------
    recipe : Recipe
    pool : Path
    team : Team, optional
        Each process simulates its share.
    """
    data, team = recipe.data, team or Team()
    kinds = (("first_seed", "seeds"), ("first_validation_seed", "validation_seeds"))
    ranges = [range(data[first], data[first] + data[count]) for first, count in kinds]
    threads = torch.get_num_threads()
    for seeds in ranges:
        fill_pool(pool, team.share(seeds))
    torch.set_num_threads(threads)
    team.wait()
    training, validation = (pool_paths(pool, seeds.start, len(seeds)) for seeds in ranges)
    return training, validation


class Training:
    """One run of a recipe into a folder.

    Parameters
    ----------
    recipe : Recipe
    out : Path
        The model's folder; checkpoints and logs go to its ``training``.
    examples, validation : list of Example or Path
        Those given by their path are read as needed.
    source : str
        What the examples are, for the card: "simulated pairs" or the name of a data set.
    threads : int, optional
        Of torch; None: what this process is allowed.
    seed : int
    unpaired : list of Example or Path
        3T examples without a target, for the 3T VQ-VAE.
    split : Split, optional
        Which subjects the examples come from.
    unpaired_subjects : list of str
    team : Team, optional
        Processes that train together; None: one, on the GPU where there is one.
    workers : int, optional
        Processes that load examples; None: four where a GPU waits for them, else none.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        examples: Sequence[Example | Path],
        validation: Sequence[Example | Path],
        source: str,
        threads: int | None = None,
        seed: int = 0,
        *,
        unpaired: Sequence[Example | Path] = (),
        split: Split | None = None,
        unpaired_subjects: Sequence[str] = (),
        team: Team | None = None,
        workers: int | None = None,
    ) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.team = team or Team(device, device=device)
        torch.set_num_threads(threads or default_threads(self.team))
        L.seed_everything(seed, verbose=False)
        self.recipe, self.out, self.source, self.seed = recipe, Path(out), source, seed
        self.workers = (4 if self.team.accelerator == "cuda" else 0) if workers is None else workers
        self.work = self.out / "training"
        self.work.mkdir(parents=True, exist_ok=True)
        self.items = [Item(e) for e in examples]
        self.validation = [Item(e) for e in validation]
        self.unpaired = [Item(e) for e in unpaired]
        self.split, self.unpaired_subjects = split, sorted(unpaired_subjects)
        self._check_same()
        self.config: dict[str, Any] = {
            **recipe.model,
            "networks": recipe.networks,
            "sampler": recipe.sampler,
            "scale": self._once("scale.json", lambda: root_scale(examples)),
            "latents": {},
        }
        networks = {name: build(KINDS[name], kw) for name, kw in recipe.networks.items()}
        self.translator = Translator(self.config, networks, self.team.device)
        self.health: dict[str, Any] = {}

    def run(self) -> Path:
        """Train every stage that is not finished; write the bundle; return its folder."""
        for name, settings in self.recipe.stages.items():
            self._prepare(name, settings)
            done = self.work / f"{name}.safetensors"
            network = self.translator.networks[name]
            # one process looks at the disk: another machine may see a new file late
            if not self.team.tell(done.exists()):
                if settings["steps"]:  # none: the network stays what it started from
                    self._fit(name, settings)
                if self.team.leads:
                    with whole_file(done) as part:
                        save_weights(part, network.state_dict())
            network.load_state_dict(self.team.tell(load_file(done) if self.team.leads else {}))
            freeze(network)
            self._conclude(name)
        if self.team.leads:
            self._export()
        self.team.wait()
        return self.out

    def _check_same(self) -> None:
        """See that what lies in the folder was begun with the same recipe, seed and data."""
        begun = {
            "recipe": attrs.asdict(self.recipe),
            "seed": self.seed,
            "source": self.source,
            "examples": [len(self.items), len(self.validation), len(self.unpaired)],
            "split": self.split.as_dict() if self.split else None,
        }
        if self._once("begun.json", lambda: begun) != json.loads(json.dumps(begun)):
            raise ModelError(
                f"{self.work}: holds a training with another recipe, seed or data; give another "
                "folder, or remove this one to begin anew."
            )

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """What the first process makes, once and for all, as plain values kept in a file."""
        path = self.work / name
        if not self.team.leads:
            return self.team.tell(None)
        if not path.exists():
            values = make()
            with whole_file(path) as part:
                part.write_text(json.dumps(values) + "\n")
        return self.team.tell(json.loads(path.read_text()))

    def _prepare(self, name: str, settings: dict[str, Any]) -> None:
        """Before a stage: start from another's weights, or generate what it learns on."""
        if "start_from" in settings:
            source = self.translator.networks[settings["start_from"]]
            self.translator.networks[name].load_state_dict(source.state_dict())
            self.translator.networks[name].requires_grad_(True)
            codebook(self.translator.networks[name]).requires_grad_(False)
        if name == "super_resolution":
            usual = self.config["sampler"]
            # it may learn on samples drawn at another temperature or in fewer steps than the app's
            self.config["sampler"] = usual | {
                "temperature": settings.get("temperature", usual.get("temperature", 1.0)),
                "steps": settings.get("sampler_steps", usual["steps"]),
            }
            for part, items in self._parts(name, settings).items():
                self._make(name, "generated", part, items, self._generated)
            self.config["sampler"] = usual

    def _conclude(self, name: str) -> None:
        """After a stage: what later ones need of it."""
        if name == "mean":
            for part, items in {"training": self.items, "validation": self.validation}.items():
                self._make(name, "mean", part, items, self._mean)
        if name.startswith("vqvae"):
            found = self._once(f"{name}/made/latents.json", lambda: self._latent_statistics(name))
            self.config["latents"][name[-2:]] = {k: found[k] for k in ("mean", "sd")}
            self.health[name] = {k: found[k] for k in ("codes_in_use", "perplexity")}
        if name == "diffusion" and self.config["form"] == "residual":
            gain = self._once(f"{name}/made/gain.json", self._fit_gain)
            self.config["sampler"] = self.config["sampler"] | {"gain": gain}

    def _parts(self, name: str, settings: dict[str, Any]) -> dict[str, list[Item]]:
        """Examples that a stage learns on, and those that it is watched on."""
        training = self.items
        if name == "vqvae_3t":
            training = self.items + self.unpaired
        if "examples" in settings:
            # from all subjects, however few
            training = training[:: max(1, len(training) // settings["examples"])]
            training = training[: settings["examples"]]
        return {"training": training, "validation": self.validation}

    def _batch(self, item: Item) -> dict[str, torch.Tensor]:
        """Batch of one item, as it lies."""
        example = Patches([item], self.config["scale"])[0]
        return {k: v[None].to(self.translator.device) for k, v in example.items()}

    def _make(
        self,
        stage: str,
        what: str,
        part: str,
        items: list[Item],
        make: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    ) -> None:
        """Make an image of every item, each process its share, and keep them in files."""
        folder = self.work / stage / "made" / f"{what}-{part}"
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{i:06d}.npy" for i in range(len(items))]
        for i in self.team.share(range(len(items))):
            if not paths[i].exists():
                torch.manual_seed(derive_seed(self.seed, what, part, i))
                with torch.no_grad():
                    image = make(self._batch(items[i]))[0].cpu().numpy().astype(np.float16)
                with whole_file(paths[i]) as file:
                    np.save(file, image)
            if i % 100 == 0 and self.team.leads:
                print(f"[{what}-{part}] {i}/{len(items)}", flush=True)
        self.team.wait()
        for item, path in zip(items, paths, strict=True):
            setattr(item, what, path)

    def _mean(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.translator.mean(batch["stack"], batch["conditions"])

    def _generated(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """What the trained stages make of a batch, as the app will, as scaled roots."""
        mean = batch.get("mean")
        if not self.translator.samples_drawn:
            return self._mean(batch) if mean is None else mean
        encoded = self.translator.encode_stack(batch["stack"], batch["conditions"], mean)
        images = self._sample(encoded, self.config["sampler"])
        return self.translator.combine(images, mean) * inputs.inside(batch["stack"])

    def _batches(self, items: list[Item], what: str) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the batch of every item, random numbers seeded for each."""
        for i, item in enumerate(items):
            torch.manual_seed(derive_seed(self.seed, what, i))
            with torch.no_grad():
                yield self._batch(item)

    @torch.no_grad()
    def _latent_statistics(self, name: str) -> dict[str, Any]:
        """Mean and spread of each latent channel, and how many codes are in use."""
        network = self.translator.networks[name]
        parts = []
        for batch in self._batches(self.items[:: max(1, len(self.items) // COUNTED)], name):
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
        return {
            "mean": [float(v) for v in latent.mean(0)],
            "sd": [float(v) for v in latent.std(0).clamp_min(1e-3)],
            "codes_in_use": len(counts),
            "perplexity": round(perplexity, 1),
        }

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

    @torch.no_grad()
    def _fit_gain(self) -> list[float]:
        """How much of the samples' average to add to the mean, by order, between 0 and 1.

        Least squares over the validation scans, each weighted by its own error, times the
        recipe's ``trust``.
        """
        products, squares = torch.zeros(3), torch.zeros(3)
        for batch in self._batches(self.validation, "gain"):
            mean = batch["mean"]
            encoded = self.translator.encode_stack(batch["stack"], batch["conditions"], mean)
            added = self._sample(encoded, self.config["sampler"]).mean(0)
            added = added * inputs.inside(batch["stack"])
            missing = residual(batch)
            error = missing.square().sum((0, 2, 3, 4)).clamp_min(1e-9)
            products += ((missing * added).sum((0, 2, 3, 4)) / error).cpu()
            squares += (added.square().sum((0, 2, 3, 4)) / error).cpu()
        gain = (products / squares.clamp_min(1e-9)).clamp(0, 1)
        trust = self.config["sampler"].get("trust", 1.0)
        return [round(trust * float(g), 3) for g in gain]

    def _fit(self, name: str, settings: dict[str, Any]) -> None:
        """Train one stage; what was made of it or after it is of no use any more."""
        self._forget(name)
        seed = derive_seed(self.seed, name)
        torch.manual_seed(seed)
        stage = STAGES[name](self.translator, name, settings)
        network = self.translator.networks[name]
        # a translator's networks rest in evaluation, where a codebook does not move
        network.train()
        if name.startswith("vqvae"):
            network.quantizer.quantizer.ddp_sync = self.team.size > 1
        parts = self._parts(name, settings)
        fine, scale = 0, self.config["scale"]
        if name == "super_resolution":
            seen = parts["training"] + parts["validation"]
            fine = min(FINE, *(min(item.example.mask_high.shape) for item in seen))
        fit_stage(
            stage,
            Patches(parts["training"], scale, fine, paired=name != "vqvae_3t"),
            Patches(parts["validation"], scale, fine),
            self.work / name,
            self.team,
            seed,
            # a codebook's distances need more digits than bfloat16 has
            mixed=not name.startswith("vqvae") and self.translator.precision == "bfloat16",
            workers=self.workers,
        )
        network.to(self.translator.device)

    def _forget(self, name: str) -> None:
        """Remove what was made with this stage and with later ones."""
        names = list(self.recipe.stages)
        later = names[names.index(name) :]
        if self.team.leads:
            for stage in later:
                # made before the stage, of what came before: still good
                if stage == name == "super_resolution":
                    continue
                shutil.rmtree(self.work / stage / "made", ignore_errors=True)
        self.team.wait()

    def _export(self) -> None:
        """Write the bundle: weights, config, card, and the log of the training."""
        for name, network in self.translator.networks.items():
            with whole_file(self.out / f"{name}.safetensors") as part:
                save_weights(part, network.state_dict())
        log = join_logs(self.work, list(self.recipe.stages))
        with whole_file(self.out / "training_log.tsv") as part:
            log.to_csv(part, sep="\t", index=False, float_format="%.6g")
        draw_curves(log, self.out / "training_curves.png")
        described = describe_pool([i.example.describe([0, 1, 2]) for i in self.items])
        if self.source == SIMULATED:
            described["snr"] = list(SNR_RANGE)
        training = {"source": self.source, "stages": self.recipe.stages, "codebooks": self.health}
        config = {
            **self.config,
            "training": training | {"data": self.recipe.data} | self._subjects(),
            "ranges": described | self.recipe.limits,
        }
        write_bundle(self.out, config, model_card(config))

    def _subjects(self) -> dict[str, Any]:
        """Who took part, for the model's record: evaluation refuses them as test subjects."""
        if self.split is None:
            return {}
        learned = {*self.split.training, *self.split.validation, *self.unpaired_subjects}
        return {
            "subjects": sorted(learned),
            "split": {**self.split.as_dict(), "unpaired": self.unpaired_subjects},
        }
