"""Trigger inversion: texts that flip a suspect model and not a clean reference model."""
