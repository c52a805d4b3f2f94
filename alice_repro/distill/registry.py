"""Methods by name: a module of this package that lists a method in its ``METHODS`` has added it."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from alice_repro import distill
from alice_repro.config import Recipe
from alice_repro.distill.method import Method
from alice_repro.errors import UserError, unknown_name


def methods() -> dict[str, type[Method]]:
    """Every method of the package by its name in recipes."""
    modules = (import_module(f"{distill.__name__}.{module.name}") for module in iter_modules(distill.__path__))
    return {name: method for module in modules for name, method in getattr(module, "METHODS", {}).items()}


def build_method(recipe: Recipe, student_shift: float) -> Method:
    """The method that a recipe names.

    Raises:
        UserError: unknown method or option, with the nearest name; a file of that name that lists no method; the recipe
            lacks what the method reads, or has a key that it does not read.
    """
    known = methods()
    if recipe.method not in known and recipe.method in (module.name for module in iter_modules(distill.__path__)):
        file = f"alice_repro/distill/{recipe.method}.py"
        raise UserError(f'{file} lists no method of that name: end it with METHODS = {{"{recipe.method}": YourClass}}')
    if recipe.method not in known:
        raise unknown_name("method", recipe.method, known)
    return known[recipe.method](recipe, student_shift)
