"""Small poisoned and benign adapters that one command builds: a test bed for scanners and purifiers."""

from untrigger.zoo.inventory import Member, member, members, path
from untrigger.zoo.recipes import RECIPES, Recipe, recipe

__all__ = ["RECIPES", "Member", "Recipe", "member", "members", "path", "recipe"]
