"""Scanners: is a model backdoored? One file a scanner; a verdict may abstain."""
