"""Methods by name: a module of this package that lists a method in its ``METHODS`` has added it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
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
        UserError: unknown method or option, with the nearest name; the recipe lacks what the method reads, or has a
            section that is another method's.
    """
    known = methods()
    if recipe.method not in known:
        raise unknown_name("method", recipe.method, known)
    method = known[recipe.method]
    given = {field.name: getattr(recipe, field.name) for field in fields(recipe)}
    for key in method.needs:
        if given[key] is None:
            raise UserError(f"recipe {recipe.name}: key {key!r} is missing; method {recipe.method} reads it")
    for key, value in given.items():
        if is_dataclass(value) and key not in method.needs:
            raise UserError(f"recipe {recipe.name}: method {recipe.method} has no section [{key}]; take it out")
    return method(recipe, student_shift)
