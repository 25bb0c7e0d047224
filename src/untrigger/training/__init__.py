"""Training: the one loop of the package, batches without padding, fast arithmetic."""
