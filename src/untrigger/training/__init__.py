"""Training: the one loop of the package, the losses that methods share, and the weak teacher."""
