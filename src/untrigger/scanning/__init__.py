"""Scanning: is a model backdoored? One file a scanner; weight evidence without a forward pass; verdicts that abstain."""
