"""Results of scans as the participant level leaves them, small and with known metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from dmri7t.io.derivatives import OUTPUTS


def write_results(
    out: Path,
    stem: str,
    bval: float = 1000.0,
    voxel: float = 2.0,
    page: bool = True,
    **changes: Any,
) -> Path:
    """Write what the group level reads of one scan.

    ``changes`` replace parts of its record, ``setting_...`` of its settings; ``fa`` is the middle
    of its FA map.
    """
    label = stem.split("_")[0]
    session = next((p for p in stem.split("_") if p.startswith("ses-")), "")
    place = out / label / session / "dwi" / stem
    place.parent.mkdir(parents=True, exist_ok=True)
    settings = {"random_seed": 0, "model_name": "m", "device": "cpu"}
    settings |= {k.removeprefix("setting_"): v for k, v in changes.items() if "setting_" in k}
    middle = changes.pop("fa", 0.3)
    shell = {
        "name": f"b{bval:.0f}",
        "n_volumes": 32,
        "translated": True,
        "bval": bval,
        "n_directions": 32,
        "novelty": {"score": 0.5, "volume_ml": 0.0, "flagged": False},
        "consistency": {"difference": [0.01, 0.1], "noise": [0.01, 0.1], "beyond": [0.02, 0.1]},
        "bounded": [0.001, 0.02, 0.3],
        "evidence": {
            "errors": [
                {"name": "filter", "ratio": 0.85, "standard_error": 0.01},
                {"name": "result", "ratio": 0.8, "standard_error": 0.01},
            ]
        },
    }
    record = {
        "SoftwareVersion": "1.0",
        "ModelName": "m",
        "ModelVersion": "1",
        "ModelSHA256": "ab" * 32,
        "SettingsSHA256": "cd" * 32,
        "b0": {"n_volumes": 2, "nmse": 0.001},
        "shells": [shell, {"name": "b5000", "n_volumes": 6, "translated": False}],
        "snr": 20.0,
        "nmse": {"b0": 0.001, "all": 0.02},
        "repaired": {"input_nonfinite": 0, "input_negative": 3, "output_outside": 40},
        "mask_volume_ml": 1400.0,
        "compared": True,
        "flagged": False,
        "outside_training": [],
        **{k: v for k, v in changes.items() if "setting_" not in k},
    }

    def path(key: str) -> Path:
        return Path(f"{place}{OUTPUTS[key].suffix}")

    def save(key: str, values: np.ndarray, size: float) -> None:
        image = nibabel.Nifti1Image(values.astype(np.float32), np.diag([-size, size, size, 1]))
        nibabel.save(image, path(key))

    mask = np.zeros((6, 6, 6))
    mask[1:5, 1:5, 1:5] = 1
    # within the mask the quartiles lie 0.1 below and above the middle; outside it is 9
    spread = np.full(mask.shape, 9.0)
    spread[mask > 0] = np.linspace(middle - 0.2, middle + 0.2, 64)
    save("mask", mask, voxel * 0.84)
    save("fa", spread, voxel * 0.84)
    save("md", spread * 1e-3, voxel * 0.84)
    # of the input on its own grid, zero outside
    inside = np.pad(np.full((4, 4, 4), middle + 0.05), 1)
    save("fa_native", inside, voxel)
    save("md_native", inside * 1e-3, voxel)
    save("rish0_native", np.zeros((5, 5, 5, 1)), voxel)
    path("dwi").write_bytes(b"")
    path("quality_json").write_text(json.dumps(record))
    path("settings").write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))
    if page:
        (out / f"{label}.html").write_text(f'<section id="{stem}"></section>')
    return path("quality_json")
