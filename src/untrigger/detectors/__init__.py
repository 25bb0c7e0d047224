"""Detectors of poisoned rows: the family, and thresholds from clean rows."""
