"""Dataclasses filled strictly from mappings, and dotted settings on top: the machinery of `alice_repro.config`.

Beside plain types a field may be one of a few words, `Literal["power", "constant"]`, or a number within limits.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal

from alice_repro.errors import UserError, unknown_name


@dataclasses.dataclass(frozen=True)
class Limit:
    """What a number must be beside its type, in ``Annotated``; ``words`` say it."""

    words: str
    holds: Callable[[float], bool]


_POSITIVE, _NOT_NEGATIVE = Limit("above 0", lambda x: x > 0), Limit("0 or more", lambda x: x >= 0)
PositiveInt = Annotated[int, Limit("1 or more", lambda x: x >= 1)]
NonNegativeInt = Annotated[int, _NOT_NEGATIVE]
PositiveFloat = Annotated[float, _POSITIVE]
NonNegativeFloat = Annotated[float, _NOT_NEGATIVE]
Share = Annotated[float, Limit("from 0 to 1", lambda x: 0 <= x <= 1)]
Decay = Annotated[float, Limit("from 0 to below 1", lambda x: 0 <= x < 1)]


def rest() -> Any:
    """A field that takes the keys which no other field has: its table is strict only to who reads it."""
    return dataclasses.field(default_factory=dict, metadata={"rest": True})


def from_mapping(cls: type, values: dict[str, Any], source: str, path: str = "") -> Any:
    """Fill a dataclass from a mapping, strictly: no unknown key, no missing key, no wrong type, nothing out of limits.

    Keys that the dataclass does not know go to its field for the rest, if it has one.

    Args:
        source: what the values come from (a file name), for messages.

    Raises:
        UserError: naming the key, the source, and the nearest valid name.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    remainder = _rest_of(cls)
    fields.pop(remainder, None)
    others = {key: value for key, value in values.items() if key not in fields}
    if others and remainder is None:
        raise UserError(f"{source}: {unknown_name('key', path + next(iter(others)), [path + name for name in fields])}")
    filled = {} if remainder is None else {remainder: others}
    for name, spec in fields.items():
        if name in values:
            filled[name] = _convert(hints[name], values[name], source, path + name)
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise UserError(f"{source}: key {path + name!r} is missing")
    return cls(**filled)


def _convert(hint: Any, value: Any, source: str, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise UserError(f"{source}: {key!r} must be a table")
        return from_mapping(hint, value, source, key + ".")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        lists = [kind for kind in arguments if typing.get_origin(kind) is tuple]
        chosen = lists[0] if lists and isinstance(value, list | tuple) else arguments[0]
        return None if value is None else _convert(chosen, value, source, key)
    if origin is Annotated:
        number, limit = _convert(arguments[0], value, source, key), arguments[1]
        if not limit.holds(number):
            raise UserError(f"{source}: {key!r} must be {limit.words}, not {value!r}")
        return number
    if origin is Literal:
        if value not in arguments:
            raise UserError(f"{source}: {unknown_name(key, str(value), arguments)}")
        return value
    if origin is tuple:
        exactly = None if arguments[-1] is Ellipsis else len(arguments)
        if not isinstance(value, list | tuple) or (exactly and len(value) != exactly):
            raise UserError(f"{source}: {key!r} must be a list" + (f" of {exactly}" if exactly else ""))
        return tuple(_convert(arguments[0], item, source, f"{key}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"{source}: {key!r} must be a table")
        return {name: _convert(arguments[1], item, source, f"{key}.{name}") for name, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise UserError(f"{source}: {key!r} must be of type {hint.__name__}, not {value!r}")
    return value


def _rest_of(cls: type) -> str | None:
    return next((f.name for f in dataclasses.fields(cls) if f.metadata.get("rest")), None)


def as_settings(config: Any) -> Any:
    """A configuration as its file has it: nested tables, a method's options beside the keys that all methods have."""
    if isinstance(config, list | tuple):
        return type(config)(map(as_settings, config))
    if not dataclasses.is_dataclass(config):
        return config
    values = {f.name: as_settings(getattr(config, f.name)) for f in dataclasses.fields(config)}
    return values | values.pop(_rest_of(type(config)) or "", {})


def toml_value(text: str) -> Any:
    """A TOML value; text that is not TOML is taken as a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def override(values: dict[str, Any], setting: str, source: str) -> None:
    """Set one dotted key to a TOML value; text that is not TOML is taken as a string."""
    key, separator, text = setting.partition("=")
    if not separator:
        raise UserError(f"setting {setting!r} must have the form key=value")
    value = toml_value(text)
    *parents, last = key.split(".")
    table: Any = values
    for part in [*parents, last]:
        index: Any = int(part) if isinstance(table, list) and part.isdigit() else part
        known = range(len(table)) if isinstance(table, list) else table
        if not isinstance(table, dict | list) or index not in known:
            raise UserError(f"{source}: {unknown_name('key', key, _dotted(values))}")
        if part is last:
            table[index] = value
        else:
            table = table[index]


def _dotted(values: Any, prefix: str = "") -> list[str]:
    items = values.items() if isinstance(values, dict) else enumerate(values) if _is_tables(values) else None
    if items is None:
        return [prefix.rstrip(".")]
    return [key for name, item in items for key in _dotted(item, f"{prefix}{name}.")]


def _is_tables(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and isinstance(values[0], dict)
