"""What a model is, in one record that is read and checked once: config.json in its folder.

Reading it needs no torch. Channels of networks stand nowhere: they follow from the model's form
and from what its networks see. A record that differs from another is made by ``attrs.evolve``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs.validators import deep_iterable, ge, gt, in_

from dmri7t.errors import ModelError
from dmri7t.models.fitted import (
    WHOLE,
    Alarms,
    Calibration,
    Latents,
    Metrics,
    Shares,
    TrainingRecord,
    Triple,
)
from dmri7t.models.networks import Networks
from dmri7t.models.plain import from_plain, to_plain
from dmri7t.signal.orders import ORDERS

CONFIG = "config.json"
"""Name of a model's description in its folder."""

FORMAT = 2
"""Version of this layout; models of dmri7t 0.2.0 and before carry none."""

N_ORDERS = len(ORDERS)
"""Maps of RISH."""

N_FEATURES = 6 * N_ORDERS + 1
"""What is known of a voxel: RISH raw, debiased and its noise, three times coherent RISH, mask."""

N_CONDITIONS = 10
"""Numbers that describe a scan."""

N_PLAIN = 3 * N_ORDERS + 1
"""Features without coherent RISH."""

N_CHANGE = 2 * N_ORDERS
"""What a regression answers: a factor and a sum for each order."""

N_REFINED = 2 * N_ORDERS + 1 + N_CONDITIONS + 1
"""What super-resolution sees: roots, noise, mask, the scan, and the ratio of voxel sizes."""

Form = Literal["residual", "direct", "regression"]
"""See :mod:`dmri7t.models.translator`."""

Sight = Literal["all", "rish"]
"""What a regression may see: everything, or RISH, their noise and the mask alone."""

RangeName = Literal["voxel_size_mm", "bval", "n_directions", "snr"]
"""Quantities whose range in the training data is known."""

LatentName = Literal["vqvae_3t", "vqvae_7t"]
"""VQ-VAEs."""

Range = tuple[float, float]
"""Lowest and highest value."""

NEEDED: dict[Form, tuple[str, ...]] = {
    "residual": ("mean", "vqvae_3t", "vqvae_7t", "diffusion"),
    "direct": ("vqvae_3t", "vqvae_7t", "diffusion"),
    "regression": ("mean",),
}
"""Networks that a form is made of; super_resolution may join any."""

FINISHED = ("scale", "training", "ranges", "files")
"""What training adds to a recipe, and a model that can be used must have."""


@attrs.frozen(kw_only=True)
class Sampler:
    """How latents are drawn.

    Parameters
    ----------
    scheduler : {"flow", "ddim"}
    start : {"noise", "inversion"}
        What sampling starts from: noise, or what the 3T latent is inverted to (DDIM alone).
    guidance : float
        Weight of the conditional answer over the unconditional one; 1: it alone.
    steps, samples : int
        What the model recommends.
    temperature : float
        Of the noise that sampling starts from.
    """

    scheduler: Literal["flow", "ddim"]
    start: Literal["noise", "inversion"]
    guidance: float
    steps: int = attrs.field(validator=ge(1))
    samples: int = attrs.field(validator=ge(1))
    temperature: float = attrs.field(validator=ge(0))

    def __attrs_post_init__(self) -> None:
        if self.start == "inversion" and self.scheduler != "ddim":
            raise ValueError("'start' is inversion, which the scheduler ddim alone can do")


@attrs.frozen(kw_only=True)
class ModelConfig:
    """A model: what it is made of, what was fitted, what it learned from and what was measured.

    A recipe gives what it is made of, training the rest; what is fitted later is None till then.

    Parameters
    ----------
    name, version, description : str
    form : {"residual", "direct", "regression"}
        See :mod:`dmri7t.models.translator`.
    networks : Networks
    sampler : Sampler, optional
        Of all forms but the regression.
    sees : {"all", "rish"}
        What the regression is given.
    mirrors : int
        Along so many axes the regression's answers to mirror images are averaged.
    scale : tuple of three floats
        Standard deviation of the root of R0, R2 and R4 over the training data.
    latents : dict of Latents
        By VQ-VAE.
    shares : Shares
    training : TrainingRecord
    ranges : dict
        Lowest and highest value within which the model is to be used.
    calibration : Calibration, optional
    novelty : Alarms, optional
    metrics : Metrics, optional
    files : dict of str
        SHA-256 of every file of weights.

    Raises
    ------
    ValueError
        If its parts do not go together.
    """

    name: str
    version: str
    form: Form
    description: str
    networks: Networks
    sampler: Sampler | None = None
    sees: Sight = "all"
    mirrors: int = attrs.field(default=0, validator=in_(range(4)))
    scale: Triple = attrs.field(default=WHOLE, validator=deep_iterable(gt(0)))
    latents: dict[LatentName, Latents] = attrs.field(factory=dict)
    shares: Shares = Shares()
    training: TrainingRecord = TrainingRecord()
    ranges: dict[RangeName, Range] = attrs.field(factory=dict)
    calibration: Calibration | None = None
    novelty: Alarms | None = None
    metrics: Metrics | None = None
    files: dict[str, str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        needed, there = NEEDED[self.form], tuple(self.networks)
        if lacking := [name for name in needed if name not in there]:
            raise ValueError(f"networks: {', '.join(lacking)} missing, of the form {self.form}")
        allowed = (*needed, "super_resolution")
        if others := [name for name in there if name not in allowed]:
            raise ValueError(f"networks: the form {self.form} has no {', '.join(others)}")
        if (self.sampler is not None) != self.samples_drawn:
            wants = "needs a sampler" if self.samples_drawn else "has no sampler"
            raise ValueError(f"sampler: the form {self.form} {wants}")
        self._check_codes()
        for name, (low, high) in self.ranges.items():
            if low > high:
                raise ValueError(f"ranges.{name}: {low:g} is above {high:g}")

    def _check_codes(self) -> None:
        """See that both VQ-VAEs and the statistics of their latents go together."""
        three, seven = self.networks.vqvae_3t, self.networks.vqvae_7t
        if three and seven:
            if three.factor != seven.factor:
                raise ValueError("networks: vqvae_3t and vqvae_7t have not as many channels")
            if self.form == "direct" and three.code_size != seven.code_size:
                raise ValueError("networks: vqvae_3t and vqvae_7t differ in code_size")
        if self.networks.diffusion and self.networks.diffusion.features:
            if self.form != "direct" or (self.sampler and self.sampler.scheduler != "flow"):
                raise ValueError("networks: a guess (features) is for the direct form, by flow")
        for name, latents in self.latents.items():
            vqvae = getattr(self.networks, name)
            size = vqvae.code_size if vqvae else 0
            if not len(latents.mean) == len(latents.sd) == size:
                raise ValueError(f"latents.{name}: mean and sd should have {size} entries each")

    @property
    def samples_taken(self) -> int:
        """How many samples are drawn unless others are asked for: none that no result takes."""
        if self.sampler is None:
            return 0
        return self.sampler.samples if self.form == "direct" or any(self.shares.samples) else 0

    @property
    def samples_drawn(self) -> bool:
        """Whether the model has a diffusion stage."""
        return self.form != "regression"

    @property
    def factor(self) -> int:
        """Voxels of the image per latent and axis; 1 where there are no latents."""
        return self.networks.vqvae_7t.factor if self.networks.vqvae_7t else 1

    @property
    def multiple(self) -> int:
        """What the edges of a box must be multiples of, voxels."""
        mean, diffusion = self.networks.mean, self.networks.diffusion
        # both are powers of two: the larger is a multiple of the smaller
        return max(
            mean.reach[1] if mean else 1,
            self.factor * diffusion.reach[1] if diffusion else 1,
        )

    def channels(self, name: str) -> tuple[int, int]:
        """Channels of a network's input and of its answer.

        Parameters
        ----------
        name : str
            Of a network that the model has.
        """
        code_size = {
            name: vqvae.code_size
            for name in ("vqvae_3t", "vqvae_7t")
            if (vqvae := getattr(self.networks, name))
        }
        if name == "mean":
            return (N_PLAIN if self.sees == "rish" else N_FEATURES + N_CONDITIONS), N_CHANGE
        if name == "diffusion":
            condition = code_size["vqvae_3t"] + N_CONDITIONS
            if self.form == "residual":
                condition += N_FEATURES + N_ORDERS
            latent = code_size["vqvae_7t"]
            return latent + condition, latent
        if name == "super_resolution":
            return N_REFINED, N_ORDERS
        return N_ORDERS, N_ORDERS

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in config.json."""
        return {"format": FORMAT, **to_plain(self)}

    @classmethod
    def from_dict(cls, values: object) -> ModelConfig:
        """Read what :meth:`to_dict` gave, of a model that can be used.

        Raises
        ------
        ValueError
            Names the key and what is wrong with it.
        """
        if not isinstance(values, dict):
            raise ValueError("should be a table of keys and values")
        if values.get("format") != FORMAT:
            raise ValueError(f"format is {values.get('format')!r}, this version reads {FORMAT}")
        if lacking := [name for name in FINISHED if name not in values]:
            raise ValueError(f"{', '.join(lacking)} missing")
        config = from_plain(cls, {k: v for k, v in values.items() if k != "format"})
        config.check_finished()
        return config

    def check_finished(self) -> None:
        """See that a model was trained to the end.

        Raises
        ------
        ValueError
            Says what is missing.
        """
        lacking = [f"files.{name}.safetensors" for name in self.networks]
        lacking = [key for key in lacking if key.removeprefix("files.") not in self.files]
        if self.samples_drawn:
            lacking += [f"latents.{n}" for n in ("vqvae_3t", "vqvae_7t") if n not in self.latents]
        names: tuple[RangeName, ...] = ("voxel_size_mm", "bval", "n_directions")
        lacking += [f"ranges.{name}" for name in names if name not in self.ranges]
        if not self.training.source:
            lacking.append("training.source")
        if lacking:
            raise ValueError(f"{', '.join(lacking)} missing")


def read_config(folder: Path | str) -> ModelConfig:
    """Read and check the description of a model.

    Parameters
    ----------
    folder : path
        Of the model.

    Raises
    ------
    ModelError
        If it cannot be read; names the file, the key, what is wrong and what to do.
    """
    path = Path(folder) / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: not a readable model description ({error}); copy the model's folder again."
        ) from error
    if isinstance(values, dict) and "format" not in values and "networks" in values:
        raise ModelError(
            f"{path}: written by an earlier version of dmri7t (0.2.0 or before), whose models this "
            "one cannot use; train the model anew by its recipe (dmri7t-model train)."
        )
    try:
        return ModelConfig.from_dict(values)
    except ValueError as error:
        raise ModelError(
            f"{path}: not a usable model description: {error}; copy the model's folder again or "
            "train it anew (dmri7t-model train)."
        ) from error
