"""Mathematics of diffusion MRI: arrays in, arrays out, no files."""
