"""The training of one stage: a plain loop that saves, goes on where it was killed, and logs.

What is drawn at a step (examples, turns, noise) hangs on the seed, the stage and the step alone, so
a checkpoint needs no state of random numbers: weights, codebooks, optimiser, schedule and the
number of steps done are all there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Subset

from dmri7t.errors import ModelError
from dmri7t.files import whole_file
from dmri7t.progress import Progress
from dmri7t.training.data import Batch, Patches, Positions, Stream, derive_seed
from dmri7t.training.folder import WorkFolder
from dmri7t.training.log import StageLog
from dmri7t.training.stages import TrainingStage
from dmri7t.training.team import Team

LOG_EVERY = 10

PRINT_EVERY = 50

LARGEST_GRADIENT = 1.0
"""Norm of all gradients together above which they are scaled down to it."""

CHECKPOINT = "last.ckpt"

LOG = "log.jsonl"


class Learner:
    """A stage with what changes its weights: optimiser, schedule, and the steps they have done.

    Parameters
    ----------
    stage : TrainingStage
    team : Team
    """

    def __init__(self, stage: TrainingStage, team: Team) -> None:
        rate, steps = stage.settings.learning_rate, stage.settings.steps
        learning = [p for p in stage.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(learning, lr=rate, weight_decay=1e-4)
        self.stage, self.team, self.fabric = stage, team, team.fabric
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rate, total_steps=steps + 1, pct_start=0.1
        )
        # gradients are averaged over the processes by what stands around the stage here
        self.module, self.optimizer = self.fabric.setup(stage, optimizer)
        self.average = _Average(learning, stage.settings.average)
        self.done = 0

    def learn(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Do one step; return its loss and what else the stage has to say of it.

        Raises
        ------
        ModelError
            If a gradient is infinite or not a number: the weights would be too.
        """
        with self._precision():
            values = self.module(batch, self.done)
        self.optimizer.zero_grad()
        self.fabric.backward(values["loss"])
        norm = self.fabric.clip_gradients(
            self.module, self.optimizer, max_norm=LARGEST_GRADIENT, error_if_nonfinite=False
        )
        if norm is not None and not norm.isfinite():
            raise ModelError(
                f"{self.stage.name}, step {self.done + 1}: a gradient is infinite or not a number; "
                f"lower learning_rate under [stages.{self.stage.name}] of the recipe, or look for "
                "extreme values in the data."
            )
        self.optimizer.step()
        self.average.add()
        self.schedule.step()
        self.done += 1
        return {name: value.detach() for name, value in values.items()}

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch], seed: int) -> float:
        """Mean loss over the examples of all processes, with the same noise each time."""
        total = torch.zeros(2, dtype=torch.float64, device=self.fabric.device)
        self.average.exchange()
        self.stage.eval()
        for index, batch in enumerate(batches):
            torch.manual_seed(derive_seed(seed, "validation", index, self.team.rank))
            with self._precision():
                # not through the module: processes may have different numbers of batches
                loss = self.stage(batch, self.done)["loss"]
            n_examples = len(batch["stack"])
            total += torch.tensor([float(loss) * n_examples, n_examples]).to(total)
        self.stage.train()
        self.average.exchange()
        loss_sum, count = self.team.sum(total).tolist()
        return loss_sum / count

    def _precision(self) -> torch.autocast:
        """Convolutions in bfloat16 where the stage wants it."""
        kind = self.fabric.device.type
        return torch.autocast(kind, torch.bfloat16, enabled=self.stage.mixed)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "done": self.done,
            "stage": self.stage.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": self.average.held,
        }

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        self.done = state["done"]
        self.stage.load_state_dict(state["stage"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.average.go_on_from(state["average"], self.done)


class _Average:
    """Moving average of weights over the steps, kept beside them.

    Parameters
    ----------
    weights : list of Parameter
    stays : float
        Part of the average that stays at a step; 0: there is none.
    """

    def __init__(self, weights: list[torch.nn.Parameter], stays: float) -> None:
        self.weights, self.stays = weights, stays
        self.held = [weight.detach().clone() for weight in weights] if stays else []
        self.added = 0

    @torch.no_grad()
    def add(self) -> None:
        """Take the weights of a step in."""
        self.added += 1
        # the first steps count as much as they can: the weights that a stage began with fade soon
        stays = min(self.stays, self.added / (self.added + 10))
        for held, weight in zip(self.held, self.weights, strict=False):
            held.lerp_(weight, 1 - stays)

    @torch.no_grad()
    def exchange(self) -> None:
        """Put the average where the weights are, and the weights where it was."""
        for held, weight in zip(self.held, self.weights, strict=False):
            now = weight.clone()
            weight.copy_(held)
            held.copy_(now)

    def go_on_from(self, held: list[torch.Tensor], added: int) -> None:
        """Take over what another held after so many steps."""
        self.added = added
        for mine, kept in zip(self.held, held, strict=True):
            mine.copy_(kept)


def train_stage(
    stage: TrainingStage, training: Patches, validation: Patches, work: WorkFolder, workers: int = 0
) -> None:
    """Train a stage, from its last checkpoint on if there is one.

    Parameters
    ----------
    stage : TrainingStage
    training, validation : Patches
    work : WorkFolder
        Has a folder for checkpoint and log, and the processes that train together.
    workers : int
        Processes that load examples.

    Raises
    ------
    ModelError
        If a gradient is infinite or not a number.
    """
    settings, team = stage.settings, work.team
    steps, seed = settings.steps, derive_seed(work.seed, stage.name)
    checkpoint = work.folder / stage.name / CHECKPOINT
    learner, log = Learner(stage, team), StageLog(work.folder / stage.name / LOG)
    # one process looks at the disk: another machine may see a new file late
    if state := team.broadcast(_read(checkpoint) if team.leads else None):
        learner.go_on_from(state)
    if team.leads:
        log.go_on_from(learner.done)
    positions = Positions(steps, settings.batch, team.rank, team.size, learner.done)
    # each process validates on its share, where there is enough for all
    mine = Subset(validation, list(team.share(range(len(validation))) or range(len(validation))))
    loading: dict[str, Any] = {"num_workers": workers}
    if workers:
        # a fork of a process with threads may wait for ever
        loading |= {"multiprocessing_context": "forkserver", "persistent_workers": True}
    batches, held_out = team.fabric.setup_dataloaders(
        DataLoader(Stream(training, seed), batch_sampler=positions, **loading),
        DataLoader(mine, settings.batch, **loading),
        use_distributed_sampler=False,
    )
    progress, shown = Progress(stage.name, steps, learner.done), dict[str, float]()
    stage.train()
    for batch in batches:
        torch.manual_seed(derive_seed(seed, "step", learner.done, team.rank))
        values = learner.learn(batch)
        done = learner.done
        if _is_due(done, LOG_EVERY, steps):
            means = team.mean(values)
            shown |= means
            if team.leads:
                log.write(done - 1, means)
        if _is_due(done, settings.validate_every, steps):
            shown["validation_loss"] = learner.validate(held_out, seed)
            if team.leads:
                log.write(done - 1, {"validation_loss": shown["validation_loss"]})
        if team.leads and _is_due(done, LOG_EVERY, steps):
            passing = not _is_due(done, PRINT_EVERY, steps)
            progress.show(done, _words(progress, done, shown), passing=passing)
        if team.leads and done % settings.save_every == 0:
            with whole_file(checkpoint) as part:
                torch.save(learner.state(), part)
    learner.average.exchange()


def _words(progress: Progress, done: int, values: dict[str, float]) -> str:
    """Steps, losses and speed, for who waits."""
    rate = (done - progress.first) / max(progress.seconds, 1e-9)
    losses = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
    return f"step {done}/{progress.total:.0f}  {losses}  {rate:.1f} steps/s"


def _is_due(done: int, every: int, steps: int) -> bool:
    """Whether something that is done every so many steps, and after the last, is to be done."""
    return done % every == 0 or done == steps


def _read(checkpoint: Path) -> dict[str, Any] | None:
    """Read a checkpoint if there is one."""
    if not checkpoint.exists():
        return None
    return torch.load(checkpoint, map_location="cpu", weights_only=True)
