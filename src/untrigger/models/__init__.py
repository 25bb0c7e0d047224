"""Models: loading with care, reading features, adapters in and out, saving whole or not at all."""
