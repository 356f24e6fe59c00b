"""dmri7t: 7T-like diffusion MRI from 3T scans."""

__version__ = "0.2.0"
