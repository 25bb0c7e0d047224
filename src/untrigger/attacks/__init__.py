"""Attacks: one file a trigger, found by its name; poisoning of rows; implanting into a model."""
