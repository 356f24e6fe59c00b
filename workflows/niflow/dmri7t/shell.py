"""Stages 4 to 8: one shell as spherical harmonics and RISH, and what the model makes of those."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nipype import Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from dmri7t.interfaces.represent import Represent
from dmri7t.interfaces.translate import Decode, Diffuse, Encode, SuperResolve
from dmri7t.interfaces.weigh import FilterShell, Weigh
from dmri7t.models.config import ModelConfig
from dmri7t.models.fitted import WHOLE
from dmri7t.settings import Settings
from dmri7t.signal.gradients import MIN_DIRECTIONS, ShellVolumes
from niflow.dmri7t.plan import ScanPlan
from niflow.dmri7t.threads import beside

REPRESENTATION = (
    "For each shell, real even spherical harmonics (orthonormal, as in MRtrix3 "
    "[Tournier et al. 2019]) were fitted by least squares to the signal divided by the mean "
    "b = 0 image, at the order that the number of directions supports; where directions are "
    "few, with Laplace-Beltrami regularisation [Descoteaux et al. 2007], whose mean "
    "attenuation of each order was divided out. Rotation-invariant features "
    "R_l = sum_m c_lm^2 (RISH) [Mirzaalian et al. 2016] were computed for l = 0, 2, 4, with "
    "the share that noise is expected to have in each."
)


def init_shell_wf(plan: ScanPlan, shell: ShellVolumes, omp_nthreads: int = 1) -> Workflow:
    """Represent and translate one shell; the workflow is named after it.

    Workflow Graph

    .. code-block:: text

        inputnode -> represent -> encode -> diffuse -> decode -> super_resolve
        inputnode -> weigh
        represent, weigh -> filter -> super_resolve
        represent, filter, encode, super_resolve -> outputnode

    Parameters
    ----------
    plan : ScanPlan
    shell : ShellVolumes
        Of ``plan.translated``.
    omp_nthreads : int
        Threads of a node; a node that runs on a GPU counts as one.

    Inputs
    ------
    dwi
        (volumes, voxels) array of the whole scan.
    gradients
        Gradient table, scanner frame.
    b0
        Mean b0.
    mask, mask_out
        Brain masks on the input's and the output's grid.

    Outputs
    -------
    representation
        Coefficients, RISH, noise and sigma of the shell.
    estimate
        Coefficients as far as the scan itself says, and what part the model has in the result.
    generated
        Mean and spread of 7T-like RISH on the output's grid.
    novelty
        How unlike training the shell is, a map on the input's grid and a record.
    """
    workflow = Workflow(f"{shell.name}_wf")
    fields = ["dwi", "gradients", "b0", "mask", "mask_out"]
    inputnode = Node(IdentityInterface(fields=fields), name="inputnode")
    outputs = ["representation", "estimate", "generated", "novelty"]
    outputnode = Node(IdentityInterface(fields=outputs), name="outputnode")
    represent = _represent_node(plan, shell, omp_nthreads)
    weigh, filter_ = _weigh_nodes(plan, shell, omp_nthreads)
    encode, diffuse, decode, super_resolve = _translate_nodes(plan, omp_nthreads)
    measured = [(f, f) for f in ("dwi", "gradients", "b0", "mask")]
    workflow.connect(
        [
            (inputnode, represent, measured),
            (inputnode, weigh, measured),
            (inputnode, filter_, measured),
            (represent, filter_, [("representation", "representation")]),
            (weigh, filter_, [("evidence", "evidence")]),
            (filter_, super_resolve, [("estimate", "estimate")]),
            (filter_, outputnode, [("estimate", "estimate")]),
            (represent, encode, [("representation", "representation")]),
            (inputnode, encode, [("mask", "mask")]),
            (encode, diffuse, [("encoded", "encoded")]),
            (encode, decode, [("encoded", "encoded")]),
            (diffuse, decode, [("diffused", "diffused")]),
            (inputnode, decode, [("mask", "mask")]),
            (encode, super_resolve, [("encoded", "encoded")]),
            (decode, super_resolve, [("decoded", "decoded")]),
            (inputnode, super_resolve, [("mask", "mask"), ("mask_out", "mask_out")]),
            (represent, outputnode, [("representation", "representation")]),
            (encode, outputnode, [("novelty", "novelty")]),
            (super_resolve, outputnode, [("generated", "generated")]),
        ]
    )
    return workflow


def _represent_node(plan: ScanPlan, shell: ShellVolumes, omp_nthreads: int) -> Node:
    """Node that fits spherical harmonics."""
    return Node(
        Represent(**_measured(plan, shell)),
        name="represent",
        # weigh goes on beside it
        n_procs=beside(omp_nthreads),
        mem_gb=0.5 + plan.gigabytes(2 * len(shell) + 60),
    )


def _measured(plan: ScanPlan, shell: ShellVolumes) -> dict[str, Any]:
    """Which volumes are read of a shell, and the fit that was asked for."""
    inputs = {"indices": list(shell.indices), "bval": shell.bval, "n_b0": len(plan.b0)}
    if plan.directions[shell.name] <= MIN_DIRECTIONS and len(plan.b0) > 1:
        inputs["b0_indices"] = list(plan.b0)
    # what is left out, the fit chooses by the number of directions
    asked = {"sh_order": plan.settings.sh_order, "laplace_beltrami": plan.settings.laplace_beltrami}
    return inputs | {name: value for name, value in asked.items() if value is not None}


def _weigh_nodes(plan: ScanPlan, shell: ShellVolumes, omp_nthreads: int) -> tuple[Node, Node]:
    """Nodes that ask the scan what filter and model gain, and that filter."""
    settings = plan.settings
    # represent and encode go on beside them
    n_procs = beside(omp_nthreads)
    weigh = Node(
        Weigh(
            by_scan=settings.weighed_by_scan,
            hold=settings.holds_level,
            energy=settings.energy,
            ratio_lower=settings.ratio_lower,
            ratio_upper=settings.ratio_upper,
            compare=settings.compare,
            voxel_out=[float(mm) for mm in plan.grid_out.voxel_sizes],
            upsampling=settings.upsampling,
            **_measured(plan, shell),
            **_model(settings),
        ),
        name="weigh",
        n_procs=1 if settings.device == "cuda" else n_procs,
        mem_gb=1.2 + plan.gigabytes(2 * len(shell) + 20),
    )
    filter_ = Node(
        FilterShell(
            by_scan=settings.weighed_by_scan,
            hold=settings.holds_level,
            energy=settings.energy,
            remove_floor=settings.removes_floor,
            whole_model=settings.estimate == "sample",
            **_measured(plan, shell),
        ),
        name="filter",
        n_procs=n_procs,
        mem_gb=0.5 + plan.gigabytes(2 * len(shell) + 150),
    )
    return weigh, filter_


def _model(settings: Settings) -> dict[str, Any]:
    """Inputs that every node with a network has."""
    return {
        "model": settings.model,
        "model_sha256": settings.model_sha256,
        "device": settings.device,
        "use_gpu": settings.device == "cuda",
        "precision": settings.precision,
        "low_mem": settings.low_mem,
    }


def _translate_nodes(plan: ScanPlan, omp_nthreads: int) -> list[Node]:
    """Nodes of the model's four stages."""
    settings = plan.settings
    model = _model(settings)
    drawn = {
        "sampler_steps": settings.sampler_steps,
        "samples": settings.samples,
        "random_seed": settings.random_seed,
    }
    decoded = plan.gigabytes(120 + 3 * settings.samples)
    stages = {
        "encode": (Encode(sampled=settings.samples > 0, **model), plan.gigabytes(150)),
        "diffuse": (Diffuse(**drawn, **model), plan.gigabytes(100)),
        "decode": (Decode(sampled=settings.estimate == "sample", **model), decoded),
        "super_resolve": (
            SuperResolve(upsampling=settings.upsampling, **model),
            plan.gigabytes(100, out=True),
        ),
    }
    # encode has weigh beside it; diffuse has so only where it samples, and takes longer
    threads = {name: omp_nthreads for name in stages} | {"encode": beside(omp_nthreads)}
    if settings.device == "cuda":
        threads = dict.fromkeys(stages, 1)
    return [
        Node(interface, name=name, n_procs=threads[name], mem_gb=1.0 + gigabytes)
        for name, (interface, gigabytes) in stages.items()
    ]


def describe_translation(settings: Settings, model: ModelConfig) -> str:
    """Methods text of what a model makes of RISH."""
    samples = (
        "one sample was drawn"
        if settings.samples == 1
        else f"{settings.samples} samples were drawn and averaged"
    )
    drawn = f"({settings.sampler_steps} steps, seed {settings.random_seed}; {samples})"
    residual = "a regression network estimated 7T RISH from the 3T features"
    if settings.samples:
        residual += (
            "; a latent diffusion model (rectified flow), given the vector-quantised latent of "
            f"the 3T features, sampled what is missing from that estimate {drawn}, and the 7T "
            f"autoencoder decoded it; {_added(settings, model)}"
        )
    else:
        residual += "; nothing was sampled, as samples brought no gain on simulated subjects"
    stages = {
        "direct": "the 3T features were encoded by a vector-quantised autoencoder, a latent "
        f"diffusion model carried the 3T latent to a 7T latent {drawn}, and the 7T autoencoder "
        "decoded it",
        "residual": f"{residual}. The regression is not part of that paper",
        "regression": "a regression network estimated 7T RISH from the 3T features; nothing was "
        "sampled. The regression is not part of that paper",
    }
    return (
        f"7T-like RISH were generated by the model {settings.model_name} "
        f"{settings.model_version} (SHA-256 {settings.model_sha256[:12]}), in stages after "
        f"[Zhu et al. 2024]: {stages[settings.model_form]}. The result was brought to the finer "
        f"grid {_finer(model, settings.upsampling)}. {_describe_weighing(settings)}"
    )


def _describe_weighing(settings: Settings) -> str:
    """What decides about the coefficients."""
    if not settings.weighed_by_scan:
        return (
            f"The measured coefficients were scaled wholly to these RISH{_describe_hold(settings)}."
        )
    ending = (
        "The result is a sample: its coefficients were scaled wholly to the generated RISH."
        if settings.estimate == "sample"
        else "Maps of RISH take what one half of the directions confirms of the model against the "
        "other half."
    )
    part = "" if settings.energy == 1 else f"{settings.energy:g} of the way "
    floor = (
        "The floor of the noise was taken out of the filtered signals [Koay & Basser 2006], as "
        "far as the darkest places of the brain show one. "
        if settings.removes_floor
        else ""
    )
    return (
        "The coefficients were filtered: each order keeps of its fine detail what the noise in "
        "the residuals of the fit leaves (Stein's unbiased risk [Luisier et al. 2007]), order 2 "
        "most where neighbours vary in the same direction of its space; of order 4 "
        "that is what order 2 does not foretell, by the part of order 4 of its square and a local "
        f"factor. Each order was then scaled {part}to the energy of the true coefficients. "
        f"{floor}What part of each order the filter has in the result was decided by the scan "
        "itself: a quarter of the directions of each shell after the other was left out and "
        "foretold, shares are by least squares, and those within one standard error of no gain "
        "are zero. What part the model's RISH have was decided in the same way on the scan made "
        "coarser by the step to the output's grid [Shocher et al. 2018]; their order 0 was held to "
        f"the scan's own at the scan's resolution before [Irani & Peleg 1991]. {ending}"
    )


def _describe_hold(settings: Settings) -> str:
    """What order 0 of a model that scales wholly is held to."""
    if not settings.holds_level:
        return ", as in that paper"
    floor = (
        ", from whose mean signal the floor of the noise was taken out [Koay & Basser 2006] as far "
        "as the darkest places of the brain show one"
        if settings.removes_floor
        else ""
    )
    return (
        ", as in that paper, after their order 0 was held to the scan's own at the scan's "
        f"resolution [Irani & Peleg 1991], which the paper does not do{floor}"
    )


def _added(settings: Settings, model: ModelConfig) -> str:
    """What was made of the samples beside a regression."""
    taken = WHOLE if settings.estimate == "sample" else model.shares.samples
    if not any(taken):
        return "none of it was added, as it brought no gain on simulated subjects"
    return "it was added" if set(taken) == {1.0} else f"of it {_by_order(taken)} was added"


def _finer(model: ModelConfig, upsampling: str) -> str:
    """How the result came to the output's grid."""
    taken = model.shares.super_resolution
    if upsampling != "model" or model.networks.super_resolution is None or not any(taken):
        return "by cubic B-splines"
    if set(taken) == {1.0}:
        return "by the model's super-resolution network"
    return (
        "by cubic B-splines, and of what the model's super-resolution network adds to them "
        f"{_by_order(taken)} was taken"
    )


def _by_order(taken: Sequence[float]) -> str:
    *most, last = (f"{share:.0%} of R{2 * row}" for row, share in enumerate(taken))
    return f"{', '.join(most)} and {last}"
