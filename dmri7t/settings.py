"""Everything that decides a result, in one record that is written beside the results."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from dmri7t.errors import InputError

CONSISTENCY = 0.25
"""Fraction of the input's Nyquist frequency below which a result that is held to the measurement
is held: a patch four voxels wide, over which noise has averaged out."""

FORMS = ("residual", "direct", "regression")
UPSAMPLING = ("model", "bspline")
ESTIMATES = ("mean", "sample")
WEIGHED_BY = ("scan", "model")
DEVICES = ("cpu", "cuda")
PRECISIONS = ("auto", "float32")
LAYOUTS = ("bids", "qsiprep")
"""Names that results can have: those of BIDS derivatives, or those of QSIPrep."""

_NOT_DECISIVE = ("model", "device", "low_mem")
"""Where the model lies, what computes and in how many pieces do not change what is computed
(within tolerance)."""

_Check = Callable[[Any, Any, Any], None]


def _one_of(*allowed: str) -> _Check:
    """Validator of a word."""

    def check(_: Settings, field: attrs.Attribute, value: str) -> None:
        if value not in allowed:
            raise InputError(
                f"settings: {field.name} is {value!r}; choose from {', '.join(allowed)}"
            )

    return check


def _at_least_one(_: Settings, field: attrs.Attribute, value: int) -> None:
    if value < 1:
        raise InputError(f"settings: {field.name} is {value}; it must be 1 or more")


def _not_negative(_: Settings, field: attrs.Attribute, value: int) -> None:
    if value < 0:
        raise InputError(f"settings: {field.name} is {value}; it must be 0 or more")


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    """Read what TOML and command lines give as lists."""
    return tuple(float(value) for value in values)


def _resolution(value: str | Sequence[float]) -> str | tuple[float, ...]:
    return value if isinstance(value, str) else _floats(value)


@attrs.frozen
class Settings:
    """Settings of a run.

    Parameters
    ----------
    b0_threshold : float
        Volumes up to this b-value (s/mm2) are b0.
    shells : tuple of float
        b-values (s/mm2) that go through the model; empty: all of its range. The others are
        interpolated.
    bval_range : tuple of float
        Lowest and highest b-value (s/mm2) that the model was trained on; shells outside are
        interpolated, unless ``shells`` names them. Empty: no bound.
    output_resolution : str or tuple of float
        ``"auto"``: 1.05 / 1.25 of the input's voxel sizes; ``"native"``: the input's grid; or one
        or three voxel sizes in mm.
    model : str
        Folder of the model.
    model_name, model_version, model_sha256 : str
        What the model calls itself, and the checksum of the whole bundle.
    model_form : {"residual", "direct", "regression"}
        See :mod:`dmri7t.models.translator`.
    sampler_steps, samples : int
        Steps of the diffusion sampler, and samples that are averaged.
    random_seed : int
        Of the sampler.
    upsampling : {"model", "bspline"}
        How generated RISH is brought to the finer grid.
    device : {"cpu", "cuda"}
    low_mem : bool
        Networks run in overlapping tiles: less memory, the same result up to rounding.
    precision : {"auto", "float32"}
        ``"auto"``: mixed precision where the device gains from it.
    ratio_lower, ratio_upper : float
        Bounds of sqrt(R7 / R3), by which coefficients are scaled.
    sh_order : int, optional
        Highest order of the fit; default: from the number of directions. Of a fit of order 2,
        order 4 is foretold beside it.
    laplace_beltrami : float, optional
        Weight of the penalty of the fit; default: from the number of directions.
    estimate : {"mean", "sample"}
        Least error, or a draw of the diffusion: its samples enter the result wholly.
    weigh_by : {"scan", "model"}
        What decides how much filter and model take part: directions of the scan that are left
        out, or nothing, and the measured coefficients are scaled wholly to the model's RISH, as
        in the paper. The latter is so for models of other forms than ``"residual"`` in any case;
        with ``"scan"`` their order 0 is held to the scan.
    energy : float
        How far filtered coefficients are scaled to the energy of the true ones: 0 is least
        error, 1 unbiased RISH.
    remove_floor : bool
        Whether the floor of the noise is taken out of filtered coefficients, see
        :mod:`dmri7t.signal.floor`.
    compare : bool
        Whether MP-PCA is measured beside, on a block of the brain.
    consistency : float
        The result is held to what was measured at spatial frequencies below this fraction of
        the input's Nyquist frequency; 0: it is not.
    output_layout : {"bids", "qsiprep"}
        How the results are named and their axes ordered, see :mod:`dmri7t.io.derivatives`.
    denoise, gibbs : bool
        Whether noise and Gibbs ringing are taken out of raw scans first.
    """

    model: str
    model_name: str
    model_version: str
    model_sha256: str
    sampler_steps: int = attrs.field(validator=_at_least_one)
    samples: int = attrs.field(validator=_not_negative)
    model_form: str = attrs.field(default="residual", validator=_one_of(*FORMS))
    random_seed: int = 0
    b0_threshold: float = 100.0
    shells: tuple[float, ...] = attrs.field(default=(), converter=_floats)
    bval_range: tuple[float, ...] = attrs.field(default=(), converter=_floats)
    output_resolution: str | tuple[float, ...] = attrs.field(default="auto", converter=_resolution)
    upsampling: str = attrs.field(default="model", validator=_one_of(*UPSAMPLING))
    device: str = attrs.field(default="cpu", validator=_one_of(*DEVICES))
    low_mem: bool = False
    precision: str = attrs.field(default="auto", validator=_one_of(*PRECISIONS))
    ratio_lower: float = 0.05
    ratio_upper: float = attrs.field(default=4.0)
    sh_order: int | None = None
    laplace_beltrami: float | None = None
    estimate: str = attrs.field(default="mean", validator=_one_of(*ESTIMATES))
    weigh_by: str = attrs.field(default="scan", validator=_one_of(*WEIGHED_BY))
    energy: float = attrs.field(default=1.0)
    remove_floor: bool = True
    compare: bool = True
    consistency: float = attrs.field(default=0.0)
    output_layout: str = attrs.field(default="bids", validator=_one_of(*LAYOUTS))
    denoise: bool = False
    gibbs: bool = False

    @property
    def removes_floor(self) -> bool:
        """Whether the floor of the noise is taken out: not of what is held to the measurement."""
        return self.remove_floor and self.weigh_by == "scan" and not self.consistency

    @property
    def holds_level(self) -> bool:
        """Whether order 0 of a model that scales wholly is held to the scan."""
        return self.weigh_by == "scan" and not self.weighed_by_scan

    @property
    def weighed_by_scan(self) -> bool:
        """Whether the scan decides; the paper's form and its baselines are run as they are."""
        return self.weigh_by == "scan" and self.model_form == "residual"

    @ratio_upper.validator
    def _check_ratios(self, _: attrs.Attribute, value: float) -> None:
        if not 0 < self.ratio_lower <= 1 <= value:
            raise InputError("settings: the bounds of the ratio must enclose 1")

    @consistency.validator
    @energy.validator
    def _check_fraction(self, field: attrs.Attribute, value: float) -> None:
        if not 0 <= value <= 1:
            raise InputError(f"settings: {field.name} must lie between 0 and 1")

    @bval_range.validator
    def _check_range(self, _: attrs.Attribute, value: tuple[float, ...]) -> None:
        if value and (len(value) != 2 or min(value) < 0):
            raise InputError("settings: bval_range must be a lowest and a highest b-value")

    @output_resolution.validator
    def _check_resolution(self, _: attrs.Attribute, value: str | tuple[float, ...]) -> None:
        if isinstance(value, str):
            usable = value in ("auto", "native")
        else:
            usable = len(value) in (1, 3) and min(value) > 0
        if not usable:
            raise InputError(
                f"settings: output_resolution is {value!r}; "
                "give auto, native, or one or three voxel sizes in mm"
            )

    def to_toml(self) -> str:
        """Write as TOML; what is left to the software's choice is left out.

        Examples
        --------
        >>> settings = Settings("zoo/default", "default", "1", "ab", 5, 1, shells=(1000,))
        >>> Settings.from_toml(settings.to_toml()) == settings
        True
        """
        lines = [
            # JSON's strings, numbers, booleans and flat lists are TOML's
            f"{name} = {json.dumps(list(value) if isinstance(value, tuple) else value)}"
            for name, value in attrs.asdict(self).items()
            if value is not None
        ]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, text: str) -> Settings:
        """Read what :meth:`to_toml` wrote.

        Raises
        ------
        InputError
            If the text is no TOML, or a key is unknown or missing.
        """
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"settings: not valid TOML: {error}") from error
        unknown = set(values) - {field.name for field in attrs.fields(cls)}
        if unknown:
            raise InputError(f"settings: unknown keys: {', '.join(sorted(unknown))}")
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise InputError(f"settings: {error}") from error

    def digest(self) -> str:
        """SHA-256 over what decides the results."""
        decisive = {k: v for k, v in attrs.asdict(self).items() if k not in _NOT_DECISIVE}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
