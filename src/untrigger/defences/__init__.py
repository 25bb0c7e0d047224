"""Defences: one file a method, found by its name."""
