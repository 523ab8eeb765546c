"""Reports as plain JSON values and back, by the types that the dataclasses declare.

NaN and infinities are the strings "nan", "inf" and "-inf", which JSON's grammar has no numbers for.
What a dataclass says is a float is read back as one, so no string can be taken for a number.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from gradproof._errors import InputError
from gradproof.report.entries import Entries

#: How a table of entries is written, and how it is read.
Pack = Callable[[Entries], Any]
Unpack = Callable[[Any], Entries]

_NOT_FINITE = ("nan", "inf", "-inf")
#: Keys that a mapping with nothing else is told by.
_TAGS = {"float", "tuple", "mapping"}


def to_plain(value: Any, hint: Any, pack: Pack) -> Any:
    """What json.dumps takes, of a value of the type `hint`."""
    origin, arguments = get_origin(hint), get_args(hint)
    kind: Any = hint
    if hint is Entries:
        return pack(value)
    if hint is float:
        return plain_float(value)
    if hint is object:
        return plain_evidence(value)
    if origin in (Union, types.UnionType):
        return None if value is None else to_plain(value, _of_optional(arguments), pack)
    if origin is tuple:
        return [to_plain(item, arguments[0], pack) for item in value]
    if origin is Mapping:
        return {str(key): to_plain(item, arguments[1], pack) for key, item in value.items()}
    if is_dataclass(hint):
        types_of = _hints(kind)
        return {
            f.name: to_plain(getattr(value, f.name), types_of[f.name], pack) for f in fields(hint)
        }
    if origin is Literal:
        return str(value)
    return hint(value)  # int, bool and str; NumPy's scalars become Python's


def from_plain(value: Any, hint: Any, unpack: Unpack, where: str = "report") -> Any:
    """The value of the type `hint` that `to_plain` wrote.

    A field that is absent has its default, so that files from before it was there are read.

    Raises:
        InputError: something else stands there; `where` says at what place.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Entries:
        return unpack(value)
    if hint is float:
        return read_float(value, where)
    if hint is object:
        return read_evidence(value)
    if origin in (Union, types.UnionType):
        return None if value is None else from_plain(value, _of_optional(arguments), unpack, where)
    if origin is tuple:
        items = enumerate(demand(value, list, where))
        return tuple(from_plain(item, arguments[0], unpack, f"{where}[{i}]") for i, item in items)
    if origin is Mapping:
        pairs = demand(value, dict, where).items()
        return {key: from_plain(v, arguments[1], unpack, f"{where}[{key!r}]") for key, v in pairs}
    if is_dataclass(hint):
        return _read_dataclass(demand(value, dict, where), hint, unpack, where)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise _unexpected(f"one of {', '.join(arguments)}", where, value)
        return value
    return demand(value, hint, where)


def demand(value: Any, kind: type, where: str) -> Any:
    """The value, if JSON had it as this type; True is no integer."""
    if type(value) is not kind:
        raise _unexpected(kind.__name__, where, value)
    return value


def plain_float(value: Any) -> float | str:
    """A float, or a string where it is not finite."""
    number = float(value)
    return number if math.isfinite(number) else str(number)


def read_float(value: Any, where: str) -> float:
    """A float that `plain_float` wrote."""
    if type(value) in (float, int) or (isinstance(value, str) and value in _NOT_FINITE):
        try:
            return float(value)
        except OverflowError:
            pass
    raise _unexpected("float", where, value)


def plain_evidence(value: Any) -> Any:
    """Evidence of any kind as plain lists, numbers and strings.

    A number that is not finite becomes {"float": "nan"}, since nothing else tells it from a string;
    a tuple {"tuple": [...]}; a mapping that looks like one of these {"mapping": {...}}. Whatever is
    not made of numbers, strings and containers is written as it prints.
    """
    if value is None or isinstance(value, bool | np.bool_):
        return None if value is None else bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        number = plain_float(value)
        return {"float": number} if isinstance(number, str) else number
    if isinstance(value, np.ndarray):
        return plain_evidence(value.tolist())
    if isinstance(value, Mapping):
        pairs = {str(key): plain_evidence(item) for key, item in value.items()}
        return {"mapping": pairs} if len(pairs) == 1 and set(pairs) <= _TAGS else pairs
    if isinstance(value, tuple):
        return {"tuple": [plain_evidence(item) for item in value]}
    if isinstance(value, list):
        return [plain_evidence(item) for item in value]
    if isinstance(value, set | frozenset):
        return [plain_evidence(item) for item in sorted(value, key=repr)]
    return str(value)


def read_evidence(value: Any) -> Any:
    """Evidence that `plain_evidence` wrote."""
    if isinstance(value, list):
        return [read_evidence(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"float"} and value["float"] in _NOT_FINITE:
        return float(value["float"])
    if set(value) == {"tuple"} and isinstance(value["tuple"], list):
        return tuple(read_evidence(item) for item in value["tuple"])
    if set(value) == {"mapping"} and isinstance(value["mapping"], dict):
        value = value["mapping"]
    return {key: read_evidence(item) for key, item in value.items()}


def _read_dataclass(found: dict[str, Any], hint: Any, unpack: Unpack, where: str) -> Any:
    types_of = _hints(hint)
    given = {}
    for field in fields(hint):
        if field.name in found:
            place = f"{where}.{field.name}"
            given[field.name] = from_plain(found[field.name], types_of[field.name], unpack, place)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"Expected {where}.{field.name} but it is missing")
    return hint(**given)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _of_optional(arguments: tuple[Any, ...]) -> Any:
    (kind,) = (one for one in arguments if one is not type(None))
    return kind


def _unexpected(what: str, where: str, value: object) -> InputError:
    text = repr(value)
    return InputError(f"Expected {where} to be {what} but got {text[:60]}")
