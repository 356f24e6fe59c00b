"""Torch networks, the sampler, the translator and model bundles."""
