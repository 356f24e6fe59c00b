"""The rows of the tables: interpolation, linear scaling, and every model in its forms.

A row more is an entry more of :func:`plain_methods` or :data:`MODEL_ROWS`: the tables, the picture,
the models' cards and the documentation take them from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import attrs
import torch

from dmri7t.errors import ModelError
from dmri7t.evaluation.case import Case
from dmri7t.evaluation.chain import (
    Estimate,
    Sampling,
    ShellScan,
    denoise_and_interpolate,
    filter_and_interpolate,
    hold_shell,
    interpolate_plainly,
    interpolate_shell,
    translate_shell,
)
from dmri7t.models.fitted import WHOLE
from dmri7t.models.translator import Translator, Upsampling
from dmri7t.models.weighing import Weighing
from dmri7t.settings import CONSISTENCY
from dmri7t.signal.orders import ORDERS
from dmri7t.signal.rish import harmonize
from dmri7t.signal.shell import Shell

SWEEP = (1, 5, 10, 50)
"""Steps of the sampler that are compared."""

MAIN = ("interpolation", "mppca", "filter")
"""Rows without a network that effects and repeats are measured of."""

AVERAGED = 8
"""Samples whose mean is compared with a single one."""


@attrs.frozen(eq=False)
class Method:
    """A row of the tables.

    Parameters
    ----------
    name : str
    make : callable
        Takes a scan, its shell and a seed; gives an Estimate.
    meaning : str
        For the documentation, in reStructuredText.
    """

    name: str
    make: Callable[[ShellScan, Shell, int], Estimate]
    meaning: str = ""


@attrs.frozen(eq=False)
class ModelRow:
    """A row that models of some kind have.

    Parameters
    ----------
    title : str
        Of the row, in which MODEL stands for the model's name.
    applies : callable
        Whether a model has this row.
    make : callable
        Takes a model, a scan, its shell and a seed; gives an Estimate.
    meaning : str
        For the documentation, in reStructuredText.
    """

    title: str
    applies: Callable[[Translator], bool]
    make: Callable[[Translator, ShellScan, Shell, int], Estimate]
    meaning: str

    def of(self, translator: Translator) -> Method:
        """The row of one model."""
        name = self.title.replace("MODEL", translator.config.name)
        return Method(name, partial(self.make, translator), self.meaning)


def fit_linear(cases: Iterable[Case]) -> torch.Tensor:
    """Fit one factor an order that brings interpolated RISH nearest to 7T.

    Least squares over all voxels, every subject weighted by the energy of its 7T, as NMSE is.

    Parameters
    ----------
    cases : iterable of Case
        Of training subjects.

    Returns
    -------
    Tensor (3,); 1 where no case shows the order.
    """
    products, squares = torch.zeros(3).double(), torch.zeros(3).double()
    for case in cases:
        n = case.orders
        counted = torch.as_tensor(case.counted[case.scan.brain_out.mask])
        plain = interpolate_shell(case.scan, case.scan.represent()).rish_3V[:n, counted].double()
        truth = case.truth.rish_3V[:n, counted].double()
        energy = truth.square().sum(1).clamp_min(1e-12)
        products[:n] += (plain * truth).sum(1) / energy
        squares[:n] += plain.square().sum(1) / energy
    return torch.where(squares > 0, products / squares.clamp_min(1e-12), 1.0).float()


def scale_linearly(scan: ShellScan, shell: Shell, factor_3: torch.Tensor) -> Estimate:
    """Interpolate, and multiply each order of RISH by its factor."""
    plain = interpolate_shell(scan, shell)
    root_LV = factor_3.sqrt()[:, None].expand(3, plain.sh_CV.shape[1])
    orders = shell.n_orders
    sh_CV = harmonize(plain.sh_CV, root_LV[:orders].to(plain.sh_CV))
    rish_3V = plain.rish_3V * factor_3[:, None].to(plain.rish_3V)
    return attrs.evolve(plain, rish_3V=rish_3V, sh_CV=sh_CV)


def plain_methods(factor_3: torch.Tensor) -> list[Method]:
    """Rows that need no network.

    Parameters
    ----------
    factor_3 : Tensor (3,)
        Of the linear scaling, from :func:`fit_linear`.
    """
    return [
        Method(
            "interpolation",
            lambda scan, shell, seed: interpolate_shell(scan, shell),
            "cubic B-splines of the 3T scan's RISH, with the gain of its fit corrected and its "
            "noise debiased",
        ),
        Method(
            "interpolation, plain",
            lambda scan, shell, seed: interpolate_plainly(scan, shell),
            "the same coefficients, whose RISH keep their noise",
        ),
        Method(
            "mppca",
            lambda scan, shell, seed: denoise_and_interpolate(scan),
            "what laboratories do: MP-PCA of b0 and shell, then interpolation",
        ),
        Method(
            "filter",
            lambda scan, shell, seed: filter_and_interpolate(scan, shell),
            "no training: the coefficients filtered as noise and neighbours tell "
            "(:mod:`dmri7t.signal.filter`), then interpolated",
        ),
        Method(
            "linear",
            lambda scan, shell, seed: scale_linearly(scan, shell, factor_3),
            "interpolation times one factor an order, fitted by least squares to training subjects",
        ),
    ]


def _as_run(translator: Translator, scan: ShellScan, shell: Shell, seed: int) -> Estimate:
    return translate_shell(translator, scan, shell, Sampling(seed=seed))


def _by_spline(translator: Translator, scan: ShellScan, shell: Shell, seed: int) -> Estimate:
    return translate_shell(translator, scan, shell, Sampling(seed=seed), upsampling="bspline")


def _by_model(
    translator: Translator,
    scan: ShellScan,
    shell: Shell,
    seed: int,
    upsampling: Upsampling = "model",
) -> Estimate:
    weighing = Weighing(by_scan=False, hold=False)
    return translate_shell(translator, scan, shell, Sampling(seed=seed), upsampling, weighing)


_by_model_and_spline = partial(_by_model, upsampling="bspline")


def _held(translator: Translator, scan: ShellScan, shell: Shell, seed: int) -> Estimate:
    weighing = Weighing.of_form(translator.config.form, remove_floor=False)
    answer = translate_shell(translator, scan, shell, Sampling(seed=seed), weighing=weighing)
    return hold_shell(answer, scan, shell, CONSISTENCY)


def _sample(translator: Translator, scan: ShellScan, shell: Shell, seed: int) -> Estimate:
    """One draw that enters wholly."""
    shares = attrs.evolve(translator.config.shares, samples=WHOLE)
    return translate_shell(
        translator.evolve(shares=shares),
        scan,
        shell,
        Sampling(samples=1, seed=seed),
        weighing=Weighing(whole_model=True),
    )


def _direct(translator: Translator, tuned: bool) -> bool:
    """Whether a model is of the paper's form, with its 7T VQ-VAE fine-tuned or not."""
    return translator.config.form == "direct" and _fine_tuned(translator) == tuned


def _resolves(translator: Translator) -> bool:
    return "super_resolution" in translator.networks


MODEL_ROWS = (
    ModelRow(
        "MODEL",
        lambda model: model.config.form != "direct",
        _as_run,
        "a model by its own name, as the app runs it: ``default`` ships, ``cnn`` and ``gan`` are "
        "regressions from RISH alone, by the recipes of these names. Order 0 is held to the scan "
        "(:doc:`method`)",
    ),
    ModelRow(
        "MODEL, B-spline",
        lambda model: model.config.form == "residual",
        _by_spline,
        "a B-spline in place of its super-resolution network",
    ),
    ModelRow(
        "MODEL, weighed by the model",
        lambda model: model.config.form != "direct",
        _by_model,
        "nothing is filtered, and the scan is not asked and not held to: measured coefficients, "
        "scaled wholly to the model's RISH (``--weigh-by model``)",
    ),
    ModelRow(
        "MODEL, sample",
        lambda model: model.config.form == "residual",
        _sample,
        "one draw of the diffusion, which enters wholly (``--estimate sample``): judged by its "
        "texture, not by its error",
    ),
    ModelRow(
        "MODEL, held",
        lambda model: model.config.form == "residual",
        _held,
        "its result held to the scan at low spatial frequencies (``--consistency``)",
    ),
    ModelRow(
        "ldm",
        lambda model: _direct(model, tuned=False),
        _by_model_and_spline,
        "the paper's latent diffusion without fine-tuning of the 7T VQ-VAE, by the recipe of this "
        "name, with a B-spline",
    ),
    ModelRow(
        "ldm-sr",
        lambda model: _direct(model, tuned=False) and _resolves(model),
        _by_model,
        "the same with the super-resolution network",
    ),
    ModelRow(
        "ldm-ft",
        lambda model: _direct(model, tuned=True),
        _by_model_and_spline,
        "with fine-tuning, by the recipe ``zhu2024``, and a B-spline",
    ),
    ModelRow(
        "ldm-ft-sr",
        lambda model: _direct(model, tuned=True) and _resolves(model),
        _by_model,
        "with fine-tuning and the super-resolution network: the paper's chain and no more "
        "(``--model zhu2024 --weigh-by model``)",
    ),
    ModelRow(
        "MODEL, level held",
        lambda model: model.config.form == "direct",
        _as_run,
        "a model of the paper's form as the app runs it: with order 0 held to the scan",
    ),
)
"""Rows of models, in the order of the tables."""


def model_methods(translator: Translator, sweep: bool = False) -> list[Method]:
    """Rows of one model: those of :data:`MODEL_ROWS` that it has.

    Parameters
    ----------
    translator : Translator
    sweep : bool
        Whether numbers of steps and samples are compared as well.
    """
    methods = [row.of(translator) for row in MODEL_ROWS if row.applies(translator)]
    if sweep and translator.samples_drawn:
        # as the app runs it: the paper's form grows from row to row
        whole = methods[-1 if translator.config.form == "direct" else 0].name
        for steps in SWEEP:
            for samples, words in ((1, "one sample"), (AVERAGED, f"mean of {AVERAGED}")):
                make = _sampled(translator, steps, samples)
                methods.append(Method(f"{whole}, {steps} steps, {words}", make))
    return methods


def _sampled(
    translator: Translator, steps: int, samples: int
) -> Callable[[ShellScan, Shell, int], Estimate]:
    def make(scan: ShellScan, shell: Shell, seed: int) -> Estimate:
        return translate_shell(translator, scan, shell, Sampling(steps, samples, seed))

    return make


def _fine_tuned(translator: Translator) -> bool:
    """Whether the 7T VQ-VAE is another than the 3T one."""
    states = [translator.networks[n].state_dict() for n in ("vqvae_3t", "vqvae_7t")]
    return any(not torch.equal(value, states[1][key]) for key, value in states[0].items())


def all_methods(
    translators: Sequence[Translator], factor_3: torch.Tensor, sweep: bool = False
) -> list[Method]:
    """Rows without a network, then those of each model.

    Parameters
    ----------
    translators : sequence of Translator
    factor_3 : Tensor (3,)
        Of the linear scaling.
    sweep : bool
        Whether numbers of steps and samples are compared as well.

    Raises
    ------
    ModelError
        If two rows have one name.
    """
    methods = plain_methods(factor_3)
    for translator in translators:
        methods += model_methods(translator, sweep)
    names = [method.name for method in methods]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ModelError(f"two models give the row {twice[0]}; give each a name of its own.")
    return methods


def main_methods(translators: Sequence[Translator]) -> list[Method]:
    """What laboratories have, the filter, and every model as the app runs it: few rows.

    Parameters
    ----------
    translators : sequence of Translator

    Raises
    ------
    ModelError
        If two rows have one name.
    """
    names = set(MAIN)
    for translator in translators:
        row = next(row for row in MODEL_ROWS if row.applies(translator) and row.make is _as_run)
        names.add(row.of(translator).name)
    everything = all_methods(translators, torch.ones(len(ORDERS)))
    return [method for method in everything if method.name in names]


def described_rows() -> list[tuple[str, str]]:
    """Name and meaning of every row, for the documentation; MODEL stands for a model's name."""
    plain = [(method.name, method.meaning) for method in plain_methods(torch.ones(3))]
    return plain + [(row.title, row.meaning) for row in MODEL_ROWS]
