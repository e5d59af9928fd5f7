"""Training: parameters, losses, gradients. Nothing is imported here, so that each part can be had alone."""
