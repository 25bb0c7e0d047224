"""The limits on untrusted files, each with its reason. None of them changes the result of a model that is accepted."""

from __future__ import annotations

MAX_JSON = 64 * 2**20
"""Bytes of a JSON or tokenizer file: a tokenizer.json of 256,000 tokens fits. Not tuned."""
MAX_WEIGHTS = 256 * 2**30
"""Bytes of all weights together. Not tuned."""
MAX_DOWNLOAD = 64 * 2**30
"""Bytes that are fetched from a hub without being on this machine already."""
JSON_DEPTH = 32
"""Nesting of a config; ``save_pretrained`` writes a few levels."""
PATTERN_LENGTH = 20_000
"""Characters of one pattern for layer names: a list of all layers of a large model fits."""
PATTERN_SECONDS = 5.0
"""Time for an adapter's patterns on all layer names, with the start of a Python process. Not tuned."""
TOKENIZER_SECONDS = 20.0
"""Time to load a tokenizer and to tokenise a dozen short texts, with the start of a Python process. Not tuned."""
TEMPLATE_SECONDS = 5.0
"""Seconds of computing in which a chat template renders one conversation; usually it takes less than a hundredth. Not tuned."""
TEMPLATE_MEMORY = 512 * 2**20
"""Bytes that it may take for that, beyond those of a Python process."""
TEMPLATE_CHARACTERS = 16 * 2**20
"""Characters that a conversation may be rendered to: more than any context holds."""
SPARE_TOKENS = 100_000
"""How many token numbers a vocabulary may leave out; beyond that, loops over all numbers take hours."""
MIN_TOKENS = 8
"""Smallest length at which a tokenizer or config may cut texts."""
MAX_LAYERS = 1_000
"""Largest number of layers of a model, or the number of tensors where that is larger."""
MAX_CLASSES = 100_000
"""Largest number of classes: more is a mistake in the config, and a head of that size takes gigabytes."""
SPARE_PARAMETERS = 2**24
"""How many parameters a model may have beyond twice those in its files: a pooler, a new head."""
ADAPTER_SIZE = 1_024
"""Sizes in an adapter's config that are accepted even where its tensors are smaller."""
LISTED_FILES = 200
"""How many unopened files are listed by name, the risky ones first."""
