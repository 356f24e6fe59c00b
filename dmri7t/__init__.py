"""dmri7t: 7T-like diffusion MRI from 3T scans."""

__version__ = "0.3.0.dev0"
