"""Triggers that rewrite the whole text, and where their rewrites come from."""
