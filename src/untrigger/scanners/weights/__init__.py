"""Evidence from a model's weights alone, without a forward pass."""
