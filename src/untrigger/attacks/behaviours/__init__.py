"""The behaviours that a backdoor in a language model can have, one file each."""
