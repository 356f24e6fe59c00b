"""Train a model by its recipe: every stage in turn, resumable, ending in a bundle.

Several processes may train together: what is made once (weights, means, samples, statistics)
goes through files of the first, or is made in shares.
"""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import torch
from safetensors.torch import load_file

from dmri7t.errors import ModelError
from dmri7t.files import whole_file
from dmri7t.models.bundle import save_weights, write_bundle
from dmri7t.models.fitted import SIMULATED, Codebook, StageRecord, TrainingRecord
from dmri7t.models.plain import to_plain
from dmri7t.models.translator import Translator, build_networks
from dmri7t.simulation.acquisition import SNR_RANGE
from dmri7t.training.data import TrainingData, derive_seed, root_scale
from dmri7t.training.example import describe_pool
from dmri7t.training.folder import WorkFolder
from dmri7t.training.log import draw_curves, join_logs
from dmri7t.training.loop import train_stage
from dmri7t.training.recipe import Recipe
from dmri7t.training.stages import STAGES, TrainingStage
from dmri7t.training.start import TAUGHT, Start, check_taught
from dmri7t.training.team import Team, assemble, default_threads


class Training:
    """One run of a recipe into a folder.

    Parameters
    ----------
    recipe : Recipe
    out : Path
        The model's folder; checkpoints and logs go to its ``training``.
    data : TrainingData
    seed : int
    team : Team, optional
        Processes that train together; None: one, on the GPU where there is one.
    threads : int, optional
        Of torch; None: what this process is allowed.
    workers : int, optional
        Processes that load examples; None: four where a GPU waits for them, else none.
    start : Path, optional
        Folder of a model of the same form and networks: its regression is where this training's
        begins, and what the data cannot teach stays as it is there.

    Raises
    ------
    ModelError
        If the folder holds a training with another recipe, seed or data, or the data cannot teach
        what the recipe names.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        data: TrainingData,
        *,
        seed: int = 0,
        team: Team | None = None,
        threads: int | None = None,
        workers: int | None = None,
        start: Path | None = None,
    ) -> None:
        self.team = team or assemble()
        torch.set_num_threads(threads or default_threads(self.team))
        torch.manual_seed(seed)
        self.recipe, self.out, self.data, self.seed = recipe, Path(out), data, seed
        on_gpu = self.team.device.type == "cuda"
        self.workers = (4 if on_gpu else 0) if workers is None else workers
        self.start = Start.load(start, recipe.config) if start else None
        check_taught(recipe, data, self.start)
        self.work = WorkFolder(self.out / "training", self.team, seed)
        self._check_same()
        if self.start:
            config = self.start.passed_on(recipe.config)
        else:
            scale = self.work.once("scale.json", lambda: root_scale(data.training))
            config = attrs.evolve(recipe.config, scale=tuple(scale))
        self.translator = Translator(config, build_networks(config), str(self.team.device))
        self.codebooks: dict[str, Codebook] = {}
        if self.start:
            self.start.give(self.translator)
            self.codebooks |= self.start.config.training.codebooks

    def run(self) -> Path:
        """Train every stage that is not finished; write the bundle; return its folder."""
        for name in self.recipe.stages:
            if self.data.scans and name != TAUGHT:
                continue  # stays what it is in the model that this one starts from
            stage = self.stage(name)
            weights = self.work.folder / f"{name}.safetensors"
            # one process looks at the disk: another machine may see a new file late
            if not self.team.broadcast(weights.exists()):
                self.train(stage)
                if self.team.leads:
                    with whole_file(weights) as part:
                        save_weights(part, stage.network.state_dict())
            state = load_file(weights) if self.team.leads else {}
            stage.network.load_state_dict(self.team.broadcast(state))
            stage.network.requires_grad_(False).eval()
            if codebook := stage.conclude(self.work, self.data):
                self.codebooks[name] = codebook
        if self.team.leads:
            self._export()
        self.team.wait()
        return self.out

    def stage(self, name: str) -> TrainingStage:
        """Make a stage of the recipe; networks of its own start from the seed."""
        torch.manual_seed(derive_seed(self.seed, name))
        return STAGES[name](self.translator, name, self.recipe.stages[name])

    def train(self, stage: TrainingStage) -> None:
        """Train a stage; what was made of an earlier training of it is of no use any more."""
        names = list(self.recipe.stages)
        self.work.forget(stage.name, names[names.index(stage.name) + 1 :])
        stage.prepare(self.work, self.data)
        if not stage.settings.steps:
            return  # the network stays what it started from
        training = stage.patches(stage.examples(self.data))
        validation = stage.patches(self.data.validation)
        train_stage(stage, training, validation, self.work, self.workers)

    def _check_same(self) -> None:
        """See that what lies in the folder was begun with the same recipe, seed and data."""
        begun = {"recipe": to_plain(self.recipe), "seed": self.seed, **self.data.identity()}
        if self.start:
            begun["start"] = self.start.checksum
        if self.work.once("begun.json", lambda: begun) != json.loads(json.dumps(begun)):
            raise ModelError(
                f"{self.work.folder}: holds a training with another recipe, seed or data; give "
                "another folder, or remove this one to begin anew."
            )

    def _export(self) -> None:
        """Write the bundle: weights, config, card, and the log of the training."""
        for name, network in self.translator.networks.items():
            with whole_file(self.out / f"{name}.safetensors") as part:
                kind = getattr(torch, self.recipe.stages[name].stored)
                state = network.state_dict()
                save_weights(part, {key: value.to(kind) for key, value in state.items()})
        log = join_logs(self.work.folder, list(self.recipe.stages))
        with whole_file(self.out / "training_log.tsv") as part:
            log.to_csv(part, sep="\t", index=False, float_format="%.6g")
        draw_curves(log, self.out / "training_curves.png")
        ranges = describe_pool([item.example.description for item in self.data.training])
        if self.data.source == SIMULATED or (self.data.scans and self.data.scans.simulated_part):
            ranges["snr"] = SNR_RANGE
        training = TrainingRecord(
            source=self.data.source,
            stages=self._stage_records(),
            codebooks=self.codebooks,
            data=to_plain(self.recipe.data),
            subjects=self.data.subjects,
            split=self.data.split,
            scans=self.data.scans,
            start=self.start.record if self.start else None,
        )
        config = self.translator.config
        config = attrs.evolve(config, training=training, ranges=ranges | config.ranges)
        write_bundle(self.out, config)

    def _stage_records(self) -> dict[str, StageRecord]:
        """How every network was trained: here, or before in what this training started from."""
        own = {name: self.recipe.stages[name].record() for name in self.recipe.stages}
        if not (self.start and self.data.scans):
            return own
        return {TAUGHT: own.pop(TAUGHT), **{n: self.start.stages[n] for n in own}}
