"""What the stages of a translation hand to each other."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import torch

from dmri7t.signal.describe import Description
from dmri7t.signal.shell import Brain


@attrs.frozen(eq=False)
class Latent:
    """What diffusion starts from.

    Parameters
    ----------
    codes : Tensor (..., c, x, y, z)
        Of the 3T VQ-VAE.
    distance : Tensor (..., x, y, z)
        How far what was encoded lies from its code.
    condition : Tensor (..., k, x, y, z)
        What the diffusion network sees besides; k is 0 in the direct form.
    """

    codes: torch.Tensor
    distance: torch.Tensor
    condition: torch.Tensor

    @classmethod
    def from_tensors(cls, tensors: dict[str, torch.Tensor]) -> Latent | None:
        """Take it out of what :attr:`Encoded.tensors` gave; None where there is none."""
        if "codes" not in tensors:
            return None
        return cls(*(tensors[field.name] for field in attrs.fields(cls)))

    def apply(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Latent:
        """Apply a function to each tensor."""
        return Latent(*map(function, (self.codes, self.distance, self.condition)))


@attrs.frozen(eq=False)
class Encoding:
    """What a model makes of its input, for a batch (B, ...).

    Parameters
    ----------
    mean : Tensor (B, 3, X, Y, Z), optional
        The regression's answer as scaled roots in the padded box; none in the direct form.
    latent : Latent, optional
        None in the regression form.
    """

    mean: torch.Tensor | None
    latent: Latent | None


@attrs.frozen(eq=False)
class Encoded:
    """A shell that was encoded; tensors lie on the CPU.

    Parameters
    ----------
    brain : Brain
        Of the shell.
    description : Description
        The shell in numbers.
    noise_3V : Tensor (3, V)
        The noise's expected share of its RISH.
    mean : Tensor (3, X, Y, Z), optional
    latent : Latent, optional
        As in :class:`Encoding`, without the batch.
    """

    brain: Brain
    description: Description
    noise_3V: torch.Tensor
    mean: torch.Tensor | None = None
    latent: Latent | None = None

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors by name, for a file; brain and description are kept apart."""
        held = {"noise": self.noise_3V}
        if self.mean is not None:
            held["mean"] = self.mean
        if self.latent is not None:
            held |= attrs.asdict(self.latent)
        return held

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, torch.Tensor], brain: Brain, description: Description
    ) -> Encoded:
        """Put together what :attr:`tensors` gave, and what was kept apart."""
        latent = Latent.from_tensors(tensors)
        return cls(brain, description, tensors["noise"], tensors.get("mean"), latent)


@attrs.frozen(eq=False)
class Decoded:
    """7T-like RISH on the input's grid.

    Parameters
    ----------
    samples_S3V : Tensor (S, 3, V)
        Of every sample.
    estimate_3V : Tensor (3, V)
        What is made of all.
    """

    samples_S3V: torch.Tensor
    estimate_3V: torch.Tensor


@attrs.frozen(eq=False)
class Generated:
    """7T-like RISH on the output's grid.

    Parameters
    ----------
    mean_3V : Tensor (3, V')
        What is made of all samples.
    sd_3V : Tensor (3, V')
        Standard deviation of its error where the model was calibrated, else the spread over
        samples (zero for one).
    """

    mean_3V: torch.Tensor
    sd_3V: torch.Tensor
