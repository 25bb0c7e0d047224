"""Attacks: triggers, poisoning of rows, and implanting a backdoor into a model."""
