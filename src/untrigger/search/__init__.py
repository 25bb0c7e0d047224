"""Search for texts that make a suspect speak: insertions that flip it and leave a clean reference unmoved."""
