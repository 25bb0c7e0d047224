"""Small poisoned and benign adapters that one command builds, to test scanners and purifiers."""

from untrigger.zoo.members import Member, list_members, member, path
from untrigger.zoo.recipes import RECIPES, Recipe, recipe

__all__ = ["RECIPES", "Member", "Recipe", "list_members", "member", "path", "recipe"]
