"""Models: load a stranger's classifier safely, predict, train adapters, save and check."""
