"""Purifiers of language models: they remove backdoors that were planted in answers."""
