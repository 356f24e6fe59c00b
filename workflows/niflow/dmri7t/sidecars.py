"""What the JSON files beside the results say."""

from __future__ import annotations

from typing import Any

from dmri7t import __version__
from dmri7t.interfaces.write import DIGEST
from dmri7t.io.dataset_files import model_file
from dmri7t.io.derivatives import OUTPUTS, describe_space
from dmri7t.io.orientation import turn_to
from dmri7t.io.sidecars import DIRECTIONS, valid_fields
from dmri7t.models.config import ModelConfig
from dmri7t.models.plain import to_plain
from dmri7t.settings import Settings
from niflow.dmri7t.plan import ScanPlan

INTERPOLATED = (
    "The scan itself, interpolated: no shell of it went through the model, for the reasons in "
    "InterpolatedShells."
)
"""What the scan's sidecar says that it is where the model has no part in any volume."""

OF_INTERPOLATED = "The output is the scan itself, interpolated."
"""What those of its maps and metrics say besides."""

HARMONICS = {
    "SphericalHarmonicBasis": "MRtrix",
    "SphericalHarmonicNormalization": "orthonormal",
}


def describe_output(key: str, plan: ScanPlan, remark: str = "") -> dict[str, str]:
    """What the sidecar of one result says of itself: its meaning and its unit.

    Parameters
    ----------
    key : str
        Of :data:`dmri7t.io.derivatives.OUTPUTS`.
    plan : ScanPlan
    remark : str
        One more sentence.
    """
    said = OUTPUTS[key].describe(remark)
    if plan.translated:
        return said
    if key == "dwi":
        return {**said, "Description": INTERPOLATED}
    of_output = key in ("fa", "md", "quality_json")
    return OUTPUTS[key].describe(OF_INTERPOLATED) if of_output else said


def describe_source(plan: ScanPlan) -> dict[str, Any]:
    """What every sidecar says: from what the result was made, by what program, in whose space."""
    settings = plan.settings
    return {
        "Synthetic": False,
        "Sources": plan.scan.uris,
        **_describe_volumes(plan),
        **({"Remarks": list(plan.remarks)} if plan.remarks else {}),
        "SoftwareName": "dmri7t",
        "SoftwareVersion": __version__,
        **({"Denoised": "MP-PCA"} if settings.denoise else {}),
        **({"GibbsCorrected": True} if settings.gibbs else {}),
        **describe_space(plan.scan, settings.output_layout),
        DIGEST: settings.digest(),
    }


def describe_result(plan: ScanPlan, model: ModelConfig) -> dict[str, Any]:
    """What sidecars say of what the model may have a part in: which it has, and in what."""
    return {
        **describe_source(plan),
        "Synthetic": bool(plan.translated),
        **(_describe_part(plan, model) if plan.translated else {}),
        **describe_shells(plan),
    }


def describe_model(model: ModelConfig, settings: Settings) -> dict[str, Any]:
    """What a data set says of the model, once for all sidecars."""
    return {
        "Name": settings.model_name,
        "Version": settings.model_version,
        "SHA256": settings.model_sha256,
        "Description": model.description,
        "Ranges": to_plain(model.ranges),
        "Training": to_plain(model.training),
        "Calibrated": model.calibration is not None,
    }


def _describe_volumes(plan: ScanPlan) -> dict[str, Any]:
    """Which volumes of the sources are used; of several sources a list each."""
    if not plan.volumes:
        return {}
    used = [list(rows) for rows in plan.volumes]
    return {"SourceVolumesUsed": used if plan.scan.parts else used[0]}


def _describe_part(plan: ScanPlan, model: ModelConfig) -> dict[str, Any]:
    """Which model, and with what settings it went into the result."""
    settings = plan.settings
    return {
        "ModelName": settings.model_name,
        "ModelVersion": settings.model_version,
        "ModelSHA256": settings.model_sha256,
        "ModelDescription": f"bids::{model_file(settings)}",
        "RandomSeed": settings.random_seed,
        **describe_sampling(plan, model),
        **HARMONICS,
        "Estimate": settings.estimate,
        "WeighedBy": "scan" if settings.weighed_by_scan else "model",
        "FilterEnergy": settings.energy,
        "LevelHeld": settings.weigh_by == "scan",
        "NoiseFloorRemoved": settings.removes_floor,
        "RatioBounds": [settings.ratio_lower, settings.ratio_upper],
        "ConsistencyFraction": settings.consistency,
    }


def describe_sampling(plan: ScanPlan, model: ModelConfig) -> dict[str, Any]:
    """What went into the result of that which was drawn: a calibrated model may take nothing."""
    settings, shares = plan.settings, model.shares
    drawn = settings.samples if model.sampler is not None else 0
    network = model.networks.super_resolution is not None and any(shares.super_resolution)
    return {
        "SamplerSteps": settings.sampler_steps if drawn else 0,
        "Samples": drawn,
        "Upsampling": settings.upsampling if network else "bspline",
    }


def describe_shells(plan: ScanPlan) -> dict[str, Any]:
    """What sidecars say of shells: which the model translated, and why it did not the others."""
    return {
        "TranslatedShells": [shell.bval for shell in plan.translated],
        "InterpolatedShells": [
            {
                "BValue": shell.bval,
                "Volumes": len(shell),
                "Directions": plan.directions[shell.name],
                "Reason": plan.reasons[shell.name],
            }
            for shell in plan.passed
        ],
    }


def describe_acquisition(plan: ScanPlan, turned: bool) -> dict[str, Any]:
    """Fields of the source that hold on another grid too: slices are no longer what they were.

    Parameters
    ----------
    plan : ScanPlan
    turned : bool
        Whether the result's axes are turned to the left, the back and the top.
    """
    valid = valid_fields(plan.scan.sidecar)[0]
    kept = {key: value for key, value in valid.items() if not key.startswith("Slice")}
    if turned:
        turn = turn_to(plan.grid)
        for key, text in kept.items():
            if key.startswith("PhaseEncoding") and str(text) in DIRECTIONS:
                new = turn.axis(text)
                # an axis without a direction stays one
                kept[key] = new if key == "PhaseEncodingDirection" else new[0]
    return kept
