"""Opening untrusted files safely: what is opened, what it must contain, and what is refused."""
