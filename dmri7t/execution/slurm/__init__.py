"""Nodes as jobs of SLURM."""
