"""What sidecars say: what BIDS allows goes on into ours, and an odd field strength is noticed."""

from __future__ import annotations

import math
from typing import Any

DIRECTIONS = ("i", "j", "k", "i-", "j-", "k-")
"""Axes of an image, with and without a sign, as sidecars name them."""

DIRECTION_FIELDS = ("PhaseEncodingDirection", "SliceEncodingDirection")

FIELD = 3.0
"""Field strength, in tesla, of what is translated."""

NEAR = 0.25
"""Field strengths this near to it are the same: 2.89 is sold as 3."""

HIGH = 4.5
"""From this field strength on there is nothing to translate, tesla."""


def valid_fields(sidecar: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Part fields that may stand in a sidecar of ours from those that may not.

    Examples
    --------
    >>> valid_fields({"EchoTime": float("nan"), "PhaseEncodingDirection": "AP", "FlipAngle": 90})
    ({'FlipAngle': 90}, ['EchoTime is no number', 'PhaseEncodingDirection is no axis ("AP")'])
    """
    kept, dropped = {}, []
    for name, value in sidecar.items():
        if not _is_finite(value):
            dropped.append(f"{name} is no number")
        elif name in DIRECTION_FIELDS and value not in DIRECTIONS:
            dropped.append(f'{name} is no axis ("{value}")')
        else:
            kept[name] = value
    return kept, dropped


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_finite(each) for each in value.values())
    if isinstance(value, list):
        return all(_is_finite(each) for each in value)
    return not isinstance(value, float) or math.isfinite(value)


def field_strength(sidecar: dict[str, Any]) -> float | None:
    """Field strength in tesla; None where it is not said. Some write it as text, or in gauss.

    Examples
    --------
    >>> [field_strength({"MagneticFieldStrength": value}) for value in (7, "3T", 15000, True)]
    [7.0, 3.0, 1.5, None]
    """
    value = sidecar.get("MagneticFieldStrength")
    if isinstance(value, str):
        value = value.strip().rstrip("Tt").strip()
    if isinstance(value, bool):
        return None
    try:
        tesla = float(value)  # type: ignore[arg-type]  # what is no number is caught
    except (TypeError, ValueError):
        return None
    tesla = tesla / 1e4 if tesla > 1000 else tesla
    return tesla if math.isfinite(tesla) and tesla > 0 else None


def why_other_field(sidecar: dict[str, Any]) -> str:
    """Reason to skip a scan of a high field; empty if there is none.

    Examples
    --------
    >>> why_other_field({"MagneticFieldStrength": 6.98})
    'a 7T scan: there is nothing to translate'
    >>> why_other_field({"MagneticFieldStrength": 2.89}), why_other_field({})
    ('', '')
    """
    tesla = field_strength(sidecar)
    if tesla is None or tesla < HIGH:
        return ""
    return f"a {tesla:.2g}T scan: there is nothing to translate"


def field_remark(sidecar: dict[str, Any]) -> str:
    """What to know of a scan by its field strength; empty at 3 T, or where none is told."""
    tesla = field_strength(sidecar)
    if tesla is None or abs(tesla - FIELD) <= NEAR:
        return ""
    return f"was measured at {tesla:.3g} T, and models are trained on {FIELD:g} T"
