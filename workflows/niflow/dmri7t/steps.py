"""What every node of the graph does, in plain words, and what share of the time it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from dmri7t.progress import Step, readable
from niflow.dmri7t.plan import ScanPlan

STEPS = {
    "assemble": Step("joins the parts of the scan", 2.0),
    "clean": Step("takes noise or ringing out of the scan", 40.0),
    "prepare": Step("reads the scan and finds the brain", 2.0),
    "define_grid": Step("lays out the finer grid", 0.1),
    "represent": Step("fits spherical harmonics", 2.0),
    "weigh": Step("asks directions that are left out what filter and model gain", 10.0),
    "filter": Step("filters the coefficients", 2.0),
    "encode": Step("runs the networks on the scan", 20.0),
    "diffuse": Step("draws samples by diffusion", 20.0),
    "decode": Step("turns the networks' answer into RISH maps", 2.0),
    "super_resolve": Step("brings the maps to the finer grid", 1.0),
    "harmonize": Step("makes the 7T-like scan", 1.5),
    "tensor_native": Step("fits tensors to the scan that came in", 1.0),
    "tensor_generated": Step("fits tensors to the 7T-like scan", 4.0),
    "anisotropy_sd": Step("works out how sure FA is", 0.1),
    "quality": Step("measures quality", 8.0),
    "tissues": Step("measures quality by tissue", 1.0),
    "compress": Step("compresses the 7T-like scan", 0.7),
    "ds_dwi": Step("writes the 7T-like scan", 0.1),
    "ds_rish_native": Step("writes RISH maps of the scan that came in", 0.3),
    "ds_rish_7tlike": Step("writes RISH maps of the 7T-like scan", 0.4),
    "ds_uncertainty": Step("writes maps of uncertainty", 0.4),
    "ds_cone": Step("writes how sure directions are", 0.1),
    "ds_uncertainty_fa": Step("writes the uncertainty of FA", 0.1),
    "ds_tensor_native": Step("writes FA and MD of the scan that came in", 0.2),
    "ds_tensor": Step("writes FA and MD", 0.3),
    "ds_mask": Step("writes the brain mask", 0.1),
    "ds_quality": Step("writes quality metrics", 0.1),
    "ds_dwiref": Step("writes the mean b0", 0.1),
    "report": Step("draws the report", 15.0),
}
"""By the last part of a node's name. Weights are rough: seconds of nodes on two real scans, and for
``weigh``, ``clean``, ``assemble`` and ``tissues``, which those had not, no more than a guess."""

OTHER = {"collect_": Step("gathers results", 0.05), "gather_": Step("gathers results", 0.1)}
"""By how the last part begins."""

PARTS_LEFT_OUT = ("dwi", "measure", "outputs")
"""Parts of a graph that tell a reader nothing."""


def describe_step(name: str) -> Step:
    """What a node of a participant's graph does.

    Parameters
    ----------
    name : str
        Within the participant's workflow.

    Raises
    ------
    KeyError
        If the graph has no such node.

    Examples
    --------
    >>> describe_step("dir_AP_wf.b1000_wf.represent").sentence
    'dir-AP, b1000: fits spherical harmonics'
    >>> describe_step("report").words
    'draws the report'
    """
    *parts, last = name.split(".")
    step = STEPS.get(last)
    if step is None:
        step = next((s for start, s in OTHER.items() if last.startswith(start)), None)
    if step is None:
        raise KeyError(f"{name}: no such node; add it to niflow.dmri7t.steps.STEPS")
    where = [part.removesuffix("_wf") for part in parts]
    told = ", ".join(part.replace("_", "-") for part in where if part not in PARTS_LEFT_OUT)
    return attrs.evolve(step, where=told)


RATE_SECONDS = 0.15
"""What a million values of the 7T-like scan take (voxels of its whole grid by volumes), in seconds
of one processor: a whole participant of HCP's size took 43 s on two."""

LEAST = 60.0
"""Seconds below which nothing was measured: what any scan takes counts for more there."""

MOST = 2
"""So many processors at most one participant keeps busy, as far as it was measured."""


@attrs.frozen
class Foretold:
    """How long a run will take.

    Parameters
    ----------
    each : float
        Seconds of the participant that takes longest, alone.
    all : float
        Seconds of all participants together.
    people : int
    processors : int
    """

    each: float
    all: float
    people: int
    processors: int

    def describe(self) -> str:
        """Write as the end of a sentence.

        Examples
        --------
        >>> Foretold(90, 900, 10, 4).describe()
        'about 90 s a participant, 15 min for all 10, with 4 processors, as far as its size tells'
        """
        plural = "s" if self.processors > 1 else ""
        all_of_them = (
            f", {readable(self.all)} for all {self.people}"
            if self.people > 1 < self.all / LEAST
            else ""
        )
        each = f"about {readable(self.each)}" if self.each >= LEAST else "a minute or so"
        return (
            f"{each} a participant{all_of_them}, with {self.processors} processor{plural}, as far "
            "as its size tells"
        )


def foretell(plans: Sequence[ScanPlan], processors: int) -> Foretold:
    """Foretell from voxels and volumes how long a run will take, on processors alone.

    Parameters
    ----------
    plans : sequence of ScanPlan
    processors : int
        That the run may use.
    """
    busy: dict[str, float] = {}
    for plan in plans:
        values = math.prod(plan.grid_out.shape) * plan.n_volumes / 1e6
        label = plan.scan.entities["sub"]
        busy[label] = busy.get(label, 0.0) + RATE_SECONDS * values
    longest = max(busy.values()) / min(processors, MOST)
    together = max(longest, sum(busy.values()) / processors)
    return Foretold(longest, together, len(busy), processors)
