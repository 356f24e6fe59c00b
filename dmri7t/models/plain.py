"""Records from plain values (JSON, TOML) and back, strictly: no unknown key, none missing.

What a record may hold is read off its annotations, so that there is no second list of keys.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs

Record = TypeVar("Record")

WORDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a text",
}
"""What a plain value should be, in words."""


def to_plain(value: Any) -> Any:
    """Turn a record into dictionaries, lists, texts and numbers.

    What may be left out is, where it is None or empty.

    Examples
    --------
    >>> @attrs.frozen
    ... class Point:
    ...     at: tuple[float, float]
    ...     name: str | None = None
    >>> to_plain(Point((1.0, 2.0)))
    {'at': [1.0, 2.0]}
    """
    if attrs.has(type(value)):
        held = [(field, getattr(value, field.name)) for field in attrs.fields(type(value))]
        return {
            field.name: to_plain(item)
            for field, item in held
            if field.default is attrs.NOTHING or item not in (None, (), {}, "")
        }
    if isinstance(value, Mapping):
        return {key: to_plain(v) for key, v in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(v) for v in value]
    return value


def from_plain(record: type[Record], value: object, at: str = "") -> Record:
    """Read a record.

    Parameters
    ----------
    record : attrs class
        Its annotations may name numbers, texts, literals, tuples, dicts, other records, and a
        choice of records that are told apart by their ``kind``.
    value : object
        A dictionary as JSON or TOML give it; a part that is a record already stays as it is.
    at : str
        Where the value stands, for messages; empty: at the top.

    Raises
    ------
    ValueError
        Names the key and what is wrong with it.

    Examples
    --------
    >>> @attrs.frozen
    ... class Point:
    ...     at: tuple[float, float]
    ...     name: str | None = None
    >>> from_plain(Point, {"at": [1, 2]})
    Point(at=(1.0, 2.0), name=None)
    >>> from_plain(Point, {"at": [1, None]}, "start")
    Traceback (most recent call last):
    ValueError: start.at[1] is null, should be a finite number
    >>> from_plain(Point, {"at": [1, 2], "colour": "red"})
    Traceback (most recent call last):
    ValueError: unknown key colour (there are at, name)
    """
    if isinstance(value, record):
        return value
    if not isinstance(value, Mapping):
        raise _wrong(value, "a table of keys and values", at)
    fields = {field.name: field for field in attrs.fields(record)}  # type: ignore[arg-type]
    prefix = f"{at}: " if at else ""
    if unknown := [str(key) for key in value if key not in fields]:
        raise _unknown(unknown, fields, prefix)
    hints = get_type_hints(record)
    given = {}
    for name, field in fields.items():
        if name in value:
            given[name] = _read(hints[name], value[name], f"{at}.{name}" if at else name)
        elif field.default is attrs.NOTHING:
            raise ValueError(f"{prefix}{name} is missing")
    try:
        return record(**given)
    except ValueError as error:
        # validators of attrs give the field and the value as further arguments
        raise ValueError(f"{prefix}{error.args[0]}") from error


def _read(hint: Any, value: object, at: str) -> Any:
    """Read a value of any annotation."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _read_choice([part for part in parts if part is not NoneType], value, at)
    if origin is Literal:
        if value not in parts or isinstance(value, bool):
            raise _wrong(value, f"one of {', '.join(map(str, parts))}", at)
        return value
    if origin is tuple:
        return _read_tuple(parts, value, at)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(value, "a table of keys and values", at)
        names = get_args(parts[0])  # of a literal; any text will do otherwise
        if names and (unknown := [str(key) for key in value if key not in names]):
            raise _unknown(unknown, names, f"{at}: ")
        return {str(key): _read(parts[1], item, f"{at}.{key}") for key, item in value.items()}
    if attrs.has(hint):
        return from_plain(hint, value, at)
    return _read_plain(hint, value, at)


def _read_choice(hints: list[Any], value: object, at: str) -> Any:
    """Read one of several records, told apart by ``kind``, or one of several plain types."""
    if len(hints) == 1:
        return _read(hints[0], value, at)
    if not all(attrs.has(hint) for hint in hints):
        if fit := [hint for hint in hints if type(value) is hint]:
            return _read_plain(fit[0], value, at)
        raise _wrong(value, " or ".join(WORDS[hint] for hint in hints), at)
    by_kind = {attrs.fields_dict(hint)["kind"].default: hint for hint in hints}
    if not isinstance(value, Mapping):
        raise _wrong(value, "a table of keys and values", at)
    names = ", ".join(map(str, by_kind))
    if "kind" not in value:
        raise ValueError(f"{at}: kind is missing, should be one of {names}")
    kind = value["kind"]
    if not isinstance(kind, str) or kind not in by_kind:
        raise _wrong(kind, f"one of {names}", f"{at}.kind")
    return from_plain(by_kind[kind], value, at)


def _read_tuple(parts: tuple[Any, ...], value: object, at: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(value, "a list", at)
    if parts[-1] is Ellipsis:
        parts = (parts[0],) * len(value)
    if len(value) != len(parts):
        raise ValueError(f"{at} has {len(value)} entries, should have {len(parts)}")
    pairs = enumerate(zip(parts, value, strict=True))
    return tuple(_read(part, item, f"{at}[{index}]") for index, (part, item) in pairs)


def _read_plain(hint: Any, value: object, at: str) -> Any:
    if hint is float and type(value) in (int, float):
        if math.isfinite(value):  # type: ignore[arg-type]
            return float(value)  # type: ignore[arg-type]
    elif type(value) is hint:
        return value
    raise _wrong(value, WORDS[hint], at)


def _unknown(unknown: Iterable[str], allowed: Iterable[str], prefix: str) -> ValueError:
    there = ", ".join(map(str, allowed))
    return ValueError(f"{prefix}unknown key {', '.join(unknown)} (there are {there})")


def _wrong(value: object, wanted: str, at: str) -> ValueError:
    shown = "null" if value is None else repr(value)
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    return ValueError(f"{at or 'the whole'} is {shown}, should be {wanted}")
