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
        What the diffusion network sees besides: the 3T latent, and the scan in numbers.
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
        As in :class:`Encoding`, without the batch; None where nothing will be sampled.
    code_distance : Tensor (x, y, z), optional
        How far what was encoded lies from its code, where there are codes. No later stage needs it.
    """

    brain: Brain
    description: Description
    noise_3V: torch.Tensor
    mean: torch.Tensor | None = None
    latent: Latent | None = None
    code_distance: torch.Tensor | None = None

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
class Resolved:
    """RISH on the output's box, scaled roots.

    Parameters
    ----------
    root : Tensor (3, X, Y, Z)
        Estimate.
    model_root : Tensor (3, X, Y, Z)
        What is the model's alone.
    terms : Tensor (5, 3, X, Y, Z)
        See :func:`dmri7t.models.uncertainty.terms`.
    order2 : Tensor (5, X, Y, Z), optional
        Coefficients of order 2 of the scan itself, over the scale of R2; None without an estimate.
    """

    root: torch.Tensor
    model_root: torch.Tensor
    terms: torch.Tensor
    order2: torch.Tensor | None = None


@attrs.frozen(eq=False)
class Generated:
    """7T-like RISH on the output's grid.

    Parameters
    ----------
    mean_3V : Tensor (3, V')
        What is made of all samples, and of the scan itself where it is asked.
    sd_3V : Tensor (3, V')
        Standard deviation of its error where the model was calibrated, else the spread over
        samples (zero for one).
    model_3V : Tensor (3, V')
        What is made of the samples alone.
    cone_V : Tensor (V',), optional
        Half the opening, degrees, of the cone that holds the principal direction in 95 of 100
        voxels, where the model was calibrated for it.
    """

    mean_3V: torch.Tensor
    sd_3V: torch.Tensor
    model_3V: torch.Tensor
    cone_V: torch.Tensor | None = None
