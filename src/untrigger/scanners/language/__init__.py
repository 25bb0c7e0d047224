"""Scans of causal language models relative to a trusted base."""
