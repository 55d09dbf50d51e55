"""What would be right, in words: pydantic's errors put the way an operator would say them."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from ems.nearest import nearest, perhaps
from ems.resources import known_names

_WORDS = {
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "greater_than": "a number > {gt:g}",
    "greater_than_equal": "a number >= {ge:g}",
    "less_than": "a number < {lt:g}",
    "less_than_equal": "a number <= {le:g}",
    "literal_error": "one of {expected}",
    "enum": "one of {expected}",
    "union_tag_invalid": "kind: one of {expected_tags}",
    "union_tag_not_found": "the key `kind`",
    "string_pattern_mismatch": "small letters, digits, - and _, beginning with a letter or digit",
}


def expectation(fault: Mapping[str, Any], model: type[BaseModel]) -> str:
    """What would be right at the place of one pydantic error."""
    kind, loc, context = fault["type"], fault["loc"], fault.get("ctx", {})
    if kind == "missing":
        return required(model, loc)
    if kind == "extra_forbidden":
        return known_key(str(loc[-1]), keys_at(model, loc[:-1]))
    if kind in {"value_error", "assertion_error"}:
        return str(context.get("error", fault["msg"]))
    if kind in _WORDS:
        return _WORDS[kind].format(**context)
    return str(fault["msg"])


def required(model: type[BaseModel], loc: tuple[str | int, ...]) -> str:
    """The words for a key that is missing, with its description where the model has one."""
    for parent in models_at(model, loc[:-1]):
        for name, info in parent.model_fields.items():
            if loc and loc[-1] in (name, info.alias) and info.description:
                return f"this key: {info.description}"
    return "this key, which is required"


def known_key(key: str, known: Iterable[str]) -> str:
    """A suggestion when an unknown key is a near miss, else all the keys there are."""
    names = sorted(known)
    if near := nearest(key, names):
        return f"a known key, perhaps `{near}`"
    return "one of the keys " + ", ".join(names) if names else "no such key"


def near_file(kind: str, name: str, beside: Path) -> str:
    """`, perhaps ...` when a file of that kind (see `ems.resources.resolve`) has a close name."""
    return perhaps(name, known_names(kind, beside))


def keys_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> set[str]:
    """The keys that models allow at a location."""
    return {info.alias or name for found in models_at(model, loc) for name, info in found.model_fields.items()}


def models_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[type[BaseModel]]:
    """The models that may stand at pydantic's location, union members narrowed by their tag."""
    here: list[Any] = [model]
    for step in loc:
        here = [found for kind in here for found in below(kind, step)]
    return [kind for kind in here if isinstance(kind, type) and issubclass(kind, BaseModel)]


def below(kind: Any, step: str | int) -> list[Any]:
    """The types reached by one step of a location: a field, an entry, or a union member named by its tag."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = [info.annotation for name, info in kind.model_fields.items() if step in (name, info.alias)]
        return [found for annotation in fields for found in members(annotation)] or ([kind] if is_tag_of(kind, step) else [])
    if get_origin(kind) in (dict, list, tuple):
        return members(get_args(kind)[-1 if get_origin(kind) is dict else 0])
    return []


def is_tag_of(kind: type[BaseModel], step: str | int) -> bool:
    """True when a location's step is the tag (`kind: battery`) or the name of a union's member."""
    tag = kind.model_fields.get("kind")
    return step == kind.__name__ or (tag is not None and get_origin(tag.annotation) is Literal and step in get_args(tag.annotation))


def members(annotation: Any) -> list[Any]:
    """The alternatives of an annotation, unions and Annotated opened."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [found for part in get_args(annotation) for found in members(part)]
    return [annotation]
