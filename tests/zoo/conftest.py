"""The command line of the tests of ``cli``."""

from tests.cli.conftest import call

__all__ = ["call"]
