"""Sample trees written from recipes, with the same names, contents and times on every machine."""

from runner.samples.loading import list_recipes, load_recipe
from runner.samples.recipe import Content, Kind, Level, Recipe, Stray
from runner.samples.writing import write_sample

__all__ = ["Content", "Kind", "Level", "Recipe", "Stray", "list_recipes", "load_recipe", "write_sample"]
