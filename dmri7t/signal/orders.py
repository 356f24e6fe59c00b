"""Orders of the spherical harmonics that the model works on; without torch, for the driver too."""

from __future__ import annotations

ORDERS = (0, 2, 4)
"""Orders of RISH that are translated, measured and written, row by row."""
