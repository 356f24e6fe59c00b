"""What was fitted to a model, what it learned from and what was measured: parts of its record."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs.validators import and_, deep_iterable, ge, gt, le

MapName = Literal["R0", "R2", "R4", "FA"]
"""Maps that are measured."""

Triple = tuple[float, float, float]
"""A number for each of R0, R2 and R4."""

Scalar = bool | int | float | str
"""A plain value."""

WHOLE: Triple = (1.0, 1.0, 1.0)
"""Shares where nothing is left out."""

PART_OF_ONE = and_(ge(0), le(1))
"""Of shares."""


@attrs.frozen(kw_only=True)
class Latents:
    """Mean and standard deviation of each channel of a VQ-VAE's latents."""

    mean: tuple[float, ...]
    sd: tuple[float, ...] = attrs.field(validator=deep_iterable(gt(0)))


@attrs.frozen(kw_only=True)
class ShareChange:
    """What changes where an order takes each share that was tried, of both networks.

    Rows are the shares, columns R0, R2 and R4.
    """

    samples: tuple[Triple, ...]
    super_resolution: tuple[Triple, ...]


@attrs.frozen(kw_only=True)
class ShareFit:
    """How shares were found, see :mod:`dmri7t.calibration.shares`.

    Parameters
    ----------
    subjects : int
    tried : tuple of float
        Shares that were tried.
    change : ShareChange
        Mean over subjects of the logarithm of NMSE over that without.
    standard_error : ShareChange, optional
        Of the mean; one subject says nothing of it.
    """

    subjects: int
    tried: tuple[float, ...]
    change: ShareChange
    standard_error: ShareChange | None = None


@attrs.frozen(kw_only=True)
class Shares:
    """How much of what each network adds goes into the result.

    Parameters
    ----------
    samples : tuple of three floats
        Of the samples' average beside a regression, for R0, R2 and R4.
    super_resolution : tuple of three floats
        Of what super-resolution changes, likewise.
    fit : ShareFit, optional
        How they were found; none: nothing was left out.
    """

    samples: Triple = attrs.field(default=WHOLE, validator=deep_iterable(PART_OF_ONE))
    super_resolution: Triple = attrs.field(default=WHOLE, validator=deep_iterable(PART_OF_ONE))
    fit: ShareFit | None = None


@attrs.frozen(kw_only=True)
class Coverage:
    """Share of voxels that 90 % intervals held, on other subjects than those of the fit.

    Parameters
    ----------
    subjects : int
    coverage_90 : dict of float
        By map.
    cone_95 : float, optional
        Share of clear directions that 95 % cones held.
    """

    subjects: int
    coverage_90: dict[MapName, float]
    cone_95: float | None = None


@attrs.frozen(kw_only=True)
class ForecastFit:
    """How a map's error over that of interpolation hangs on the scan.

    Parameters
    ----------
    weights : tuple of six floats
        Of :data:`dmri7t.models.forecast.FEATURES`, of the logarithm.
    sd : float
        Standard deviation of what is not explained.
    """

    weights: tuple[float, float, float, float, float, float]
    sd: float = attrs.field(validator=ge(0))


Weights = tuple[float, float, float, float, float]
"""Of :data:`dmri7t.models.uncertainty.TERMS`."""


@attrs.frozen(kw_only=True)
class Intervals:
    """How wide intervals are, see :mod:`dmri7t.models.uncertainty`.

    Parameters
    ----------
    weights : tuple of three times five floats
        What the variance of a root's error is made of, for R0, R2 and R4.
    fa_factor : float
        Of the standard deviation of FA.
    subjects : int
        Fitted on.
    direction : tuple of five floats, optional
        What the squared error of the coefficients of order 2 is made of, from which cones follow
        that hold the principal direction. None: the model was calibrated before there were any.
    """

    weights: tuple[Weights, Weights, Weights]
    fa_factor: float = attrs.field(validator=gt(0))
    subjects: int
    direction: Weights | None = None


@attrs.frozen(kw_only=True)
class Calibration:
    """How far results are off.

    Parameters
    ----------
    intervals : Intervals
    check : Coverage
        Whether they hold the truth.
    forecast : dict of ForecastFit
        How much a scan may be expected to improve, by map.
    """

    intervals: Intervals
    check: Coverage
    forecast: dict[MapName, ForecastFit]


@attrs.frozen(kw_only=True)
class Alarms:
    """How often scans are called unlike the training data, see :mod:`dmri7t.models.novelty`.

    Parameters
    ----------
    subjects : int
        Whose simulated scans set the thresholds.
    checked : int
        Others, on whom alarms were counted.
    false_alarms : float
        Share of these without a fault that raised one.
    detected : dict of float
        Share of those with each kind of fault that raised one.
    """

    subjects: int
    checked: int
    false_alarms: float = attrs.field(validator=PART_OF_ONE)
    detected: dict[str, float]


@attrs.frozen(kw_only=True)
class StageRecord:
    """How a network was trained.

    Parameters
    ----------
    steps, batch : int
    learning_rate : float
    options : dict
        What else its stage was given.
    """

    steps: int = attrs.field(validator=ge(0))
    batch: int = attrs.field(validator=ge(1))
    learning_rate: float = attrs.field(validator=gt(0))
    options: dict[str, Scalar] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Codebook:
    """How well a codebook is used."""

    codes_in_use: int
    perplexity: float


@attrs.frozen(kw_only=True)
class SplitRecord:
    """Which subjects a model learned from, was watched on, and may be tested on."""

    training: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...] = ()
    unpaired: tuple[str, ...] = ()
    seed: int = 0
    fold: str = ""


@attrs.frozen(kw_only=True)
class ScansRecord:
    """Single 3T scans that a model was taught by, some directions of a shell by the others.

    Parameters
    ----------
    dataset : str
        Name of their folder.
    subjects, scans, examples : int
        Subjects and scans for training and validation, and examples for training.
    simulated_part : float
        Of what was learned from, simulated blocks.
    """

    dataset: str
    subjects: int
    scans: int
    examples: int
    simulated_part: float = attrs.field(default=0.0, validator=[ge(0), le(1)])


@attrs.frozen(kw_only=True)
class StartRecord:
    """A model whose weights a training started from.

    Parameters
    ----------
    name, version : str
    source : str
        What it learned from.
    subjects : tuple of str
        Who took part in that.
    start : StartRecord, optional
        What it started from itself.
    """

    name: str
    version: str
    source: str
    subjects: tuple[str, ...] = ()
    start: StartRecord | None = None


@attrs.frozen(kw_only=True)
class TrainingRecord:
    """What a model learned from.

    Parameters
    ----------
    source : str
        What the examples are.
    stages : dict of StageRecord
        By network.
    codebooks : dict of Codebook
        By VQ-VAE.
    data : dict
        Which of the simulated examples.
    subjects : tuple of str
        Who took part, where somebody did: evaluation refuses them.
    split : SplitRecord, optional
    scans : ScansRecord, optional
    start : StartRecord, optional
    """

    source: str = ""
    stages: dict[str, StageRecord] = attrs.field(factory=dict)
    codebooks: dict[str, Codebook] = attrs.field(factory=dict)
    data: dict[str, Scalar] = attrs.field(factory=dict)
    subjects: tuple[str, ...] = ()
    split: SplitRecord | None = None
    scans: ScansRecord | None = None
    start: StartRecord | None = None

    @property
    def learned(self) -> tuple[str, ...]:
        """Subjects that it learned from or was watched on."""
        split = self.split or SplitRecord(training=(), validation=())
        learned = {*self.subjects, *split.training, *split.validation, *split.unpaired}
        return tuple(sorted(learned))

    @property
    def simulated(self) -> bool:
        """Whether no scan of anybody took part."""
        return self.source == SIMULATED


SIMULATED = "simulated pairs"
"""The source of what the simulator made."""


@attrs.frozen(kw_only=True)
class Spread:
    """Mean over subjects, and standard deviation where there is more than one."""

    mean: float
    sd: float | None = None


@attrs.frozen(kw_only=True)
class Metrics:
    """What an evaluation measured.

    Parameters
    ----------
    subjects : int
    command : str
        That measured it.
    nmse, ssim : dict of dict of Spread
        By method and map.
    """

    subjects: int
    command: str
    nmse: dict[str, dict[MapName, Spread]]
    ssim: dict[str, dict[MapName, Spread]]
