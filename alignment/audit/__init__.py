"""What the two live sides are set to: every constant of layers and optimizers."""
