"""Evaluation: what models say (outcomes), and the numbers made of it. Only this side ever sees triggered rows."""
