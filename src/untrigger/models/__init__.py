"""Models: load an untrusted classifier safely, predict, train adapters, save and check."""
