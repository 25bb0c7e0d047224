"""From one validated spec to files: attack, purify, evaluate, demo. Commands call these; methods never do."""
