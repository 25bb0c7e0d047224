"""The words of the project, as types: rows, triggers, grants, outcomes, measurements. Nothing here loads torch."""
