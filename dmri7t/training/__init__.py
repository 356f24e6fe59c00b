"""Training data, stages and recipes."""
