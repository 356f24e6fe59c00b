"""Files in and out: images, gradients, BIDS inputs and derivatives."""
