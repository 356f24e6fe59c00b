"""What is fitted to a finished model: uncertainty, shares of the stages, likeness to training."""
