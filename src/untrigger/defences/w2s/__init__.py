"""W2SDefense (arXiv 2410.14425): ours, and as published."""
