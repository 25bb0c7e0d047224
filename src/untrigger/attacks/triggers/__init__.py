"""The triggers: one file each, found by its name."""
