"""BeDKD (arXiv 2508.01595): ours, as described, and as released."""
