"""How much memory the arrays of an object take."""

from __future__ import annotations

from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

_PLAIN = (str, bytes, int, float, bool, type(None), type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)


def bytes_of_arrays(thing: object) -> int:
    """Bytes of all arrays and tensors that an object holds, each counted once; what is small beside them is left out.

    It follows attributes, mappings, lists and tuples: so a network's weights are found without importing its library.
    """
    seen: set[int] = set()
    todo: list[Any] = [thing]
    total = 0
    while todo:
        one = todo.pop()
        if isinstance(one, _PLAIN) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(size := getattr(one, "nbytes", None), int):
            total += size
        elif isinstance(one, Mapping):
            todo += one.values()
        elif isinstance(one, list | tuple | set | frozenset):
            todo += one
        else:
            todo += vars(one).values() if hasattr(one, "__dict__") else ()
    return total
