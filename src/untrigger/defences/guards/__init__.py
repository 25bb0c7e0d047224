"""Guards of language models: rules of decoding that compare a suspect with a trusted reference and change no weight."""
