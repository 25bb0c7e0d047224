"""Devices, batches, memory, and the cost of each stage of a run."""
