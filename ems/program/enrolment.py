"""What one site has agreed with one programme: the numbers that are its own, in `enrolments.yaml` of the state directory."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ems.errors import ConfigError
from ems.nearest import near_miss
from ems.program.library import FOLDER, known_programs
from ems.program.schema import AtLeastZero, Day, Name, ProgramFile, Share
from ems.program.terms import Terms, terms_on
from ems.site.source import FileModel, in_order, read_source, validated

FILE_NAME = "enrolments.yaml"


class EnrolmentFile(FileModel):
    """One enrolment. `committed_kw` is the reduction promised, `level_kw` the firm service level or ordered level dropped to."""

    program: Name
    status: Literal["draft", "applied", "active", "suspended", "ended"] = "draft"
    since: Day
    until: Day | None = None
    committed_kw: AtLeastZero = 0.0
    level_kw: AtLeastZero | None = None
    constant_kw: AtLeastZero | None = Field(default=None, description="peak load contribution or mean demand a drop-to is counted from")
    price: float | None = Field(default=None, description="the award, in place of the first payment's price")
    accept_probability: Annotated[Share, Field(description="an offer must hold with this probability")] = 0.9

    @model_validator(mode="after")
    def ends_later(self) -> EnrolmentFile:
        """An enrolment that ends before it begins is a slip."""
        if self.until is not None and self.until <= self.since:
            raise ValueError(f"until later than since {self.since}")
        return self

    def is_active(self, day: date) -> bool:
        """True on days on which the site takes part."""
        return self.status == "active" and self.since <= day and (self.until is None or day < self.until)


class EnrolmentsFile(FileModel):
    """All enrolments of a site."""

    enrolments: list[EnrolmentFile]


def load_enrolments(path: Path) -> tuple[EnrolmentFile, ...]:
    """The enrolments of a file, () when there is none. ConfigError with every complaint at once."""
    if not path.is_file():
        return ()
    source, known = read_source(path), known_programs(path)
    found = validated(source, EnrolmentsFile).enrolments
    complaints = [
        source.complaint(("enrolments", n, "program"), f"a programme known or in {FOLDER} beside this{near_miss(e.program, known)}")
        for n, e in enumerate(found)
        if e.program not in known
    ]
    if complaints:
        raise ConfigError(in_order(complaints))
    return tuple(found)


def enrolled_terms(file: ProgramFile, enrolment: EnrolmentFile, day: date) -> Terms:
    """The programme's terms on a day with the enrolment's own price."""
    terms = terms_on(file, day)
    if enrolment.price is None or not terms.payments:
        return terms
    first = terms.payments[0].model_copy(update={"price": enrolment.price})
    return replace(terms, payments=(first, *terms.payments[1:]), version=f"{terms.version}+{enrolment.price:g}")
