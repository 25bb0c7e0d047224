"""Detectors of poisoned prompts: which answers of a training file only the suspect model finds likely."""
