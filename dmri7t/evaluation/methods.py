"""The rows of the tables: interpolation, linear scaling, and every model in its forms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs
import torch

from dmri7t.errors import ModelError
from dmri7t.evaluation.case import Case
from dmri7t.evaluation.chain import (
    Estimate,
    ShellScan,
    hold_shell,
    interpolate_shell,
    regress_shell,
    translate_shell,
)
from dmri7t.models.translator import Translator
from dmri7t.settings import CONSISTENCY
from dmri7t.signal.rish import harmonize
from dmri7t.signal.shell import Shell

SWEEP = (1, 5, 10, 50)
"""Steps of the sampler that are compared."""

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
    """

    name: str
    make: Callable[[ShellScan, Shell, int], Estimate]


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
    return Estimate(plain.rish_3V * factor_3[:, None].to(plain.rish_3V), sh_CV)


def plain_methods(factor_3: torch.Tensor) -> list[Method]:
    """What needs no network."""
    return [
        Method("interpolation", lambda scan, shell, seed: interpolate_shell(scan, shell)),
        Method("linear", lambda scan, shell, seed: scale_linearly(scan, shell, factor_3)),
    ]


def model_methods(translator: Translator, sweep: bool = False) -> list[Method]:
    """Rows of one model.

    The paper's form gives ``ldm-ft`` and ``ldm-ft-sr``, or ``ldm`` where its 7T VQ-VAE was not
    fine-tuned; the default's form its regression alone, a B-spline in place of its
    super-resolution, and the result held to the scan by ``--consistency``, too.

    Parameters
    ----------
    translator : Translator
    sweep : bool
        Whether numbers of steps and samples are compared as well.
    """
    name, form = translator.config.name, translator.config.form
    resolves = "super_resolution" in translator.networks
    if form == "direct":
        tuned = _fine_tuned(translator)
        base = "ldm-ft" if tuned else "ldm"
        rows = [_row(translator, base, upsampling="bspline")]
        if resolves:
            rows.append(_row(translator, f"{base}-sr"))
        name = rows[-1].name
    else:
        rows = [_row(translator, name)]
    if form == "residual":
        rows.append(_row(translator, f"{name}, B-spline", upsampling="bspline"))
        rows.append(
            Method(
                f"{name}, regression alone",
                lambda scan, shell, seed: regress_shell(translator, scan, shell),
            )
        )
        rows.append(
            Method(
                f"{name}, held",
                lambda scan, shell, seed: hold_shell(
                    translate_shell(translator, scan, shell, seed=seed), scan, shell, CONSISTENCY
                ),
            )
        )
    if sweep and translator.samples_drawn:
        rows += [
            _row(translator, f"{name}, {steps} steps, {words}", steps=steps, samples=samples)
            for steps in SWEEP
            for samples, words in ((1, "one sample"), (AVERAGED, f"mean of {AVERAGED}"))
        ]
    return rows


def _row(translator: Translator, name: str, **settings: object) -> Method:
    return Method(
        name,
        lambda scan, shell, seed: translate_shell(translator, scan, shell, seed=seed, **settings),
    )


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
