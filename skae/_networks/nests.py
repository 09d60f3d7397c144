"""Nests: arrays in dicts, lists, tuples and named tuples, as the params of a network."""

from collections.abc import Callable, Iterator
from typing import Any


def map_nest(function: Callable[..., Any], nest: Any, *others: Any) -> Any:
    """Apply a function to each array of a nest, and return a nest of the results.

    Parameters
    ----------
    function : callable
        Function of one array of each nest.
    nest : array, or dict, list or tuple of nests
        Nest. The result has the same structure.
    *others : nest
        Nests of the same structure.
    """
    if isinstance(nest, dict):
        return {
            key: map_nest(function, part, *(other[key] for other in others))
            for key, part in nest.items()
        }
    if isinstance(nest, list | tuple):
        parts = [map_nest(function, *each) for each in zip(nest, *others, strict=True)]
        # the class of a named tuple takes each part as an argument
        return type(nest)(*parts) if hasattr(nest, "_fields") else type(nest)(parts)
    return function(nest, *others)


def arrays_of(nest: Any) -> Iterator[Any]:
    """Yield the arrays of a nest."""
    if isinstance(nest, dict):
        nest = list(nest.values())
    if isinstance(nest, list | tuple):
        for part in nest:
            yield from arrays_of(part)
    else:
        yield nest
