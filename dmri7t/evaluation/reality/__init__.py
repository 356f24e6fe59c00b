"""The simulator against real scans."""
