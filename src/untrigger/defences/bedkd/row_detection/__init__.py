"""The detecting half of BeDKD: a directional mapping, evidence for every suspect row, a threshold."""
