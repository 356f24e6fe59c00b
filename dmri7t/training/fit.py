"""One stage through Lightning: exactly as far as it came, should it be killed.

What is drawn at a step (examples, turns, noise) hangs on the seed, the stage and the step, so a
checkpoint needs no state of random numbers; Lightning keeps the rest in it (weights, codebooks,
optimiser, schedule, progress).
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.utils.data import DataLoader, Subset

from dmri7t.files import whole_file
from dmri7t.training.data import Patches, Places, Stream, derive_seed
from dmri7t.training.log import StageLog
from dmri7t.training.stages import Stage
from dmri7t.training.team import Team

SAVE_EVERY = 100
"""Steps between checkpoints, unless a stage's settings have save_every."""

VALIDATE_EVERY = 200
"""Steps between validations, unless a stage's settings have validate_every."""

PRINT_EVERY = 50

for name in ("pytorch", "fabric"):
    # tips, and what is said of every checkpoint
    logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that take their name only when whole: a kill leaves the one before."""

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        """Lightning's hook."""
        with whole_file(path) as part:
            super().save_checkpoint(checkpoint, part, storage_options)


class Lines(L.Callback):
    """Print the loss every so often; a bar is of no use in a log file."""

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        """Lightning's hook."""
        if (index + 1) % PRINT_EVERY == 0 and trainer.is_global_zero:
            seen = {k: float(v) for k, v in trainer.callback_metrics.items()}
            text = "  ".join(f"{k} {v:.4g}" for k, v in seen.items())
            print(
                f"[{module.name}] step {index + 1}/{module.settings['steps']}  {text}", flush=True
            )


class Steps(L.Callback):
    """Seed every step by its number, save checkpoints, and go on from one.

    Parameters
    ----------
    path : Path
        Of the checkpoint.
    seed : int
        Of the stage.
    places : Places
        Is told where to begin.
    log : StageLog
        Is told too.
    rank : int
        Of this process: each draws noise of its own.
    """

    def __init__(self, path: Path, seed: int, places: Places, log: StageLog, rank: int) -> None:
        self.path, self.seed, self.places, self.log_file = path, seed, places, log
        self.rank = rank
        self.done = 0

    def state_dict(self) -> dict[str, int]:
        """Lightning's hook: into the checkpoint."""
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Lightning's hook: out of the checkpoint."""
        self.done = self.places.start = state["done"]

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Lightning's hook."""
        self.log_file.go_on_from(self.done)

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        """Lightning's hook."""
        torch.manual_seed(derive_seed(self.seed, "step", index, self.rank))

    def on_validation_batch_start(
        self, trainer: Any, module: Any, batch: Any, index: int, *_: Any
    ) -> None:
        """Lightning's hook: the same noise in every validation."""
        torch.manual_seed(derive_seed(self.seed, "validation", index, self.rank))

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        """Lightning's hook."""
        self.done = index + 1
        if self._is_due(self.done, module.settings) and self.done < module.settings["steps"]:
            trainer.save_checkpoint(self.path)

    @staticmethod
    def _is_due(done: int, settings: dict[str, Any]) -> bool:
        """Whether to save: on time, or a step later where a validation would come in between."""
        every = settings.get("save_every", SAVE_EVERY)
        validated = settings.get("validate_every", VALIDATE_EVERY)
        on_time = done % every == 0 and done % validated != 0
        return on_time or ((done - 1) % every == 0 and (done - 1) % validated == 0 and done > 1)


def fit_stage(
    stage: Stage,
    training: Patches,
    validation: Patches,
    folder: Path,
    team: Team,
    seed: int,
    mixed: bool = False,
    workers: int = 0,
) -> None:
    """Train a stage, from its last checkpoint on if there is one.

    Parameters
    ----------
    stage : Stage
        Its settings give steps, batch (of each process), and perhaps save_every and
        validate_every.
    training, validation : Patches
    folder : Path
        For the checkpoint and the log.
    team : Team
    seed : int
        Of the stage.
    mixed : bool
        Whether to compute in bfloat16.
    workers : int
        Processes that load examples.
    """
    settings = stage.settings
    folder.mkdir(parents=True, exist_ok=True)
    places = Places(settings["steps"], settings["batch"], team.rank, team.size)
    loading: dict[str, Any] = {"num_workers": workers}
    if workers:
        # a fork of a process with threads may wait for ever
        loading |= {"multiprocessing_context": "forkserver", "persistent_workers": True}
    log = StageLog(folder / "log.jsonl")
    last = folder / "last.ckpt"
    trainer = L.Trainer(
        **team.trainer_settings(),
        max_epochs=1,
        precision="bf16-mixed" if mixed else "32-true",
        logger=log,
        callbacks=[Lines(), Steps(last, seed, places, log, team.rank)],
        plugins=[WholeCheckpoints()],
        default_root_dir=folder,
        enable_checkpointing=False,
        check_val_every_n_epoch=None,
        val_check_interval=settings.get("validate_every", VALIDATE_EVERY),
        num_sanity_val_steps=0,
        gradient_clip_val=1.0,
        log_every_n_steps=min(10, settings["steps"]),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    # each process validates on its share, where there is enough for all
    mine = team.share(range(len(validation))) or range(len(validation))
    with warnings.catch_warnings():
        # Places knows where to go on, whatever Lightning thinks of the loader
        warnings.filterwarnings("ignore", ".*dataloader is not resumable.*")
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
        trainer.fit(
            stage,
            DataLoader(Stream(training, seed), batch_sampler=places, **loading),
            DataLoader(Subset(validation, list(mine)), settings["batch"], **loading),
            ckpt_path=str(last) if last.exists() else None,
        )
