"""Noise maps that programs leave beside scans: found, so that it can be said that none is used."""

from __future__ import annotations

from pathlib import Path

from dmri7t.io.names import SCAN_ENDINGS, split_name

WORDS = ("noise", "sigma")
"""What a noise map is called: in its suffix, or in one of :data:`MEANINGS`."""

MEANINGS = ("desc", "stat", "param", "model", "label")
"""Entities that say what a map shows; they are not those of a scan."""


def noise_maps_beside(dwi: Path) -> list[Path]:
    """Noise maps in the folder of a scan, whose other entities the scan's name has too."""
    own = split_name(dwi).items()
    found = []
    for path in sorted(dwi.parent.iterdir()):
        stem, entities = path.name.split(".")[0], split_name(path)
        if path == dwi or not path.name.endswith(SCAN_ENDINGS):
            continue
        said = [entities.pop(name, "") for name in MEANINGS] + [stem.rsplit("_", 1)[-1]]
        told = any(word in text.lower() for text in said for word in WORDS)
        if told and "denois" not in "".join(said).lower() and entities.items() <= own:
            found.append(path)
    return found


def noise_remark(dwi: Path) -> str:
    """Say that a noise map beside a scan is not used; empty if there is none.

    dwidenoise, dwidenoise2 and their like write the noise that they took out of the raw scan. What
    is left in a scan that was denoised, resampled or scaled since is another and smaller amount:
    it is measured in the scan itself.
    """
    names = ", ".join(path.name for path in noise_maps_beside(dwi))
    if not names:
        return ""
    return (
        f"{names} is not used: such a map tells the noise of the raw scan, and the noise of this "
        "one is measured in it"
    )
