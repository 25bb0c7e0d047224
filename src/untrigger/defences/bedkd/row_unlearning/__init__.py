"""The unlearning half of BeDKD: a bounded loss, what stops it, and suspect rows made by search if none were granted."""
