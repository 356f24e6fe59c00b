"""A simulated brain, a scanner, and paired data sets made of them."""
