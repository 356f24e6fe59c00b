"""Stage 4: one shell as spherical harmonics and RISH."""

from __future__ import annotations

from nipype import Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from dmri7t.interfaces.represent import Represent
from dmri7t.settings import Settings
from dmri7t.signal.gradients import ShellVolumes
from niflow.dmri7t.plan import ScanPlan

METHODS = (
    "For each shell, real even spherical harmonics (orthonormal, as in MRtrix3 "
    "[Tournier et al. 2019]) were fitted by least squares to the signal divided by the mean "
    "b = 0 image, at the order that the number of directions supports; where directions are "
    "few, with Laplace-Beltrami regularisation [Descoteaux et al. 2007], whose mean "
    "attenuation of each order was divided out. Rotation-invariant features "
    "R_l = sum_m c_lm^2 (RISH) [Mirzaalian et al. 2016] were computed for l = 0, 2, 4, with "
    "the share that noise is expected to have in each."
)


def init_represent_wf(
    plan: ScanPlan,
    shell: ShellVolumes,
    settings: Settings,
    omp_nthreads: int = 1,
    name: str = "represent_wf",
) -> Workflow:
    """Represent one shell.

    Workflow Graph

    .. code-block:: text

        inputnode -> represent -> outputnode

    Parameters
    ----------
    plan : ScanPlan
    shell : ShellVolumes
    settings : Settings
    omp_nthreads : int
        Threads of a node.
    name : str

    Inputs
    ------
    dwi
        (volumes, voxels) array of the whole scan.
    gradients
        Gradient table, scanner frame.
    b0
        Mean b0.
    mask
        Brain mask.

    Outputs
    -------
    representation
        Coefficients, RISH, noise and sigma of the shell.
    """
    workflow = Workflow(name)
    workflow.__desc__ = METHODS
    inputnode = Node(IdentityInterface(fields=["dwi", "gradients", "b0", "mask"]), name="inputnode")
    outputnode = Node(IdentityInterface(fields=["representation"]), name="outputnode")
    represent = Node(
        Represent(indices=list(shell.indices), bval=shell.bval, n_b0=len(plan.b0)),
        name="represent",
        n_procs=omp_nthreads,
        mem_gb=0.5 + plan.gigabytes(2 * len(shell) + 60),
    )
    if settings.sh_order is not None:
        represent.inputs.sh_order = settings.sh_order
    if settings.laplace_beltrami is not None:
        represent.inputs.laplace_beltrami = settings.laplace_beltrami
    workflow.connect(
        [
            (inputnode, represent, [(f, f) for f in ("dwi", "gradients", "b0", "mask")]),
            (represent, outputnode, [("representation", "representation")]),
        ]
    )
    return workflow
