"""The command line: words in, one validated spec, the pipeline called, its end told. Nothing is computed here."""
