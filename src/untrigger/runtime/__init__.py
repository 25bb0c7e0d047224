"""What a run stands on: devices, batches, memory and the cost of each stage."""
