"""Stage 9: the 7T-like scan out of coefficients and generated RISH."""

from __future__ import annotations

from nipype import Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from dmri7t.interfaces.harmonize import Harmonize
from dmri7t.settings import Settings
from niflow.dmri7t.plan import ScanPlan


def init_harmonize_wf(
    plan: ScanPlan, settings: Settings, omp_nthreads: int = 1, name: str = "harmonize_wf"
) -> Workflow:
    """Make the 7T-like scan.

    Workflow Graph

    .. code-block:: text

        inputnode -> harmonize -> outputnode

    Parameters
    ----------
    plan : ScanPlan
    settings : Settings
    omp_nthreads : int
        Threads of a node.
    name : str

    Inputs
    ------
    dwi
        (volumes, voxels) array of the whole scan.
    b0
        Mean b0.
    mask
        Brain mask on the input's grid.
    mask_out
        Brain mask on the output's grid.
    representations
        Of the translated shells.
    generated
        Generated RISH of the same shells.

    Outputs
    -------
    dwi
        (volumes, voxels) array on the output's grid.
    b0
        Mean b0 on the output's grid.
    figures
        Fractions bounded and values repaired.
    """
    workflow = Workflow(name)
    workflow.__desc__ = _describe(plan, settings)
    fields = ["dwi", "b0", "mask", "mask_out", "representations", "generated"]
    inputnode = Node(IdentityInterface(fields=fields), name="inputnode")
    outputnode = Node(IdentityInterface(fields=["dwi", "b0", "figures"]), name="outputnode")
    harmonize = Node(
        Harmonize(
            shell_indices=[list(shell.indices) for shell in plan.translated],
            interpolated=plan.interpolated,
            ratio_lower=settings.ratio_lower,
            ratio_upper=settings.ratio_upper,
            consistency=settings.consistency,
        ),
        name="harmonize",
        n_procs=omp_nthreads,
        mem_gb=0.5
        + plan.gigabytes(140 if settings.consistency else 110, out=True)
        + (60 if settings.consistency else 20) * plan.image_gigabytes,
    )
    workflow.connect(
        [
            (inputnode, harmonize, [(field, field) for field in fields]),
            (harmonize, outputnode, [(f, f) for f in ("dwi", "b0", "figures")]),
        ]
    )
    return workflow


def _describe(plan: ScanPlan, settings: Settings) -> str:
    sizes = "x".join(f"{mm:.4g}" for mm in plan.grid_out.voxel_sizes)
    passed = ""
    if plan.passed:
        names = ", ".join(shell.name for shell in plan.passed)
        passed = f" Shells that the model did not translate ({names}) were interpolated only."
    held = ""
    if settings.consistency:
        held = (
            " The coefficients of the signal were then held to those measured at low spatial "
            f"frequencies, below {settings.consistency:g} of the input's Nyquist frequency along "
            "each axis: the part of the change that is slower than that, by least squares within "
            "the brain, was taken back."
        )
    return (
        f"The coefficients were interpolated to {sizes} mm by cubic B-splines and multiplied, "
        "order by order, by the square root of generated over measured RISH, held between "
        f"{settings.ratio_lower:g} and {settings.ratio_upper:g}; orders above 4 were left as "
        f"they are.{held} The signal was evaluated at every gradient direction of the scan and "
        "multiplied by the mean b = 0 image; every b = 0 volume was kept, interpolated."
        f"{passed} The result is synthetic: it is a model's estimate, no measurement."
    )
