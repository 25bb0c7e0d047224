"""``python -m untrigger``: the same as the command ``untrigger``."""

from untrigger.cli.main import run

if __name__ == "__main__":
    run()
