"""annotated.yaml is the manual of the site file: it loads, and it names and explains every key there is."""

import re
from pathlib import Path

from pydantic import BaseModel

from ems.site.check import check_site
from ems.site.load import site_source
from ems.site.schema import SiteFile
from ems.site.source import FileModel, validated

ANNOTATED = Path(__file__).resolve().parents[2] / "config" / "sites" / "annotated.yaml"


def parts(value: object) -> list[BaseModel]:
    """Every model in a validated file, itself included."""
    if isinstance(value, BaseModel):
        return [value, *(part for name in type(value).model_fields for part in parts(getattr(value, name)))]
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [part for entry in entries for part in parts(entry)]


def models_below(kind: type[BaseModel]) -> list[type[FileModel]]:
    """Every model that a file of this kind can hold, by the names in its JSON schema."""
    names = {kind.__name__, *kind.model_json_schema()["$defs"]}
    return [model for model in FileModel.__subclasses__() if model.__module__.startswith("ems.site.") and model.__name__ in names]


def test_the_annotated_site_has_no_fault():
    assert check_site(ANNOTATED) == []


def test_every_key_of_every_part_occurs_in_the_annotated_site():
    written: dict[type[BaseModel], set[str]] = {}
    for part in parts(validated(site_source(ANNOTATED), SiteFile)):
        written.setdefault(type(part), set()).update(part.model_fields_set)
    missing = {model.__name__: sorted(set(model.model_fields) - written.get(model, set())) for model in models_below(SiteFile)}
    assert len(missing) >= 15
    assert {name: keys for name, keys in missing.items() if keys} == {}


def test_every_line_with_a_key_of_the_annotated_site_has_a_comment():
    key = re.compile(r"^\s*(- )?(\{|[a-z_0-9]+:)")
    bare = [
        line
        for line in ANNOTATED.read_text().splitlines()
        if key.match(line) and "#" not in line and not re.match(r"^  [a-z0-9-]+:$", line)
    ]
    assert bare == []
