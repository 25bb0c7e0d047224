"""Files of strangers: what may be opened, what must be in it, and what is refused."""
