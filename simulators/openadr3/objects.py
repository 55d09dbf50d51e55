"""The objects of OpenADR 3.1 as this head-end accepts them. Written after the public interface description; unknown keys are kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)

FULL_DURATION = r"^(-?)P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)([DW]))?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$"


def rfc3339(value: object) -> object:
    """Text only: a number is no instant on this wire."""
    if not isinstance(value, str) or len(value) < 20 or value[10] not in "Tt":
        raise ValueError("an RFC 3339 instant")
    return value


def absolute(value: str) -> str:
    """A URL with a scheme."""
    if "://" not in value or any(c.isspace() for c in value):
        raise ValueError("an absolute URI")
    return value


Name = Annotated[StrictStr, Field(min_length=1, max_length=128)]
ObjectId = Annotated[StrictStr, Field(pattern=r"^[a-zA-Z0-9_-]*$", min_length=1, max_length=128)]
Instant = Annotated[AwareDatetime, BeforeValidator(rfc3339)]
Duration = Annotated[StrictStr, Field(pattern=FULL_DURATION, min_length=3)]
Url = Annotated[StrictStr, Field(min_length=2, max_length=8000), AfterValidator(absolute)]
Number = StrictInt | StrictFloat
ObjectType = Literal["PROGRAM", "EVENT", "REPORT", "SUBSCRIPTION", "VEN", "RESOURCE"]
Operation = Literal["READ", "CREATE", "UPDATE", "DELETE"]


class Wire(BaseModel):
    """One object on the wire: keys as written there, unknown ones kept."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class PointValue(Wire):
    """A pair of numbers."""

    x: Number
    y: Number


class ValuesMap(Wire):
    """Values of a type."""

    type: Name
    values: list[Number | StrictStr | StrictBool | PointValue]


class IntervalPeriod(Wire):
    """Where an interval lies."""

    start: Instant | None = Field(default=None)
    duration: Duration | None = None
    randomizeStart: Duration | None = None


class Interval(Wire):
    """A span with payloads."""

    id: Annotated[StrictInt, Field(ge=-(2**31), lt=2**31)]
    intervalPeriod: IntervalPeriod | None = None
    payloads: list[ValuesMap]


class EventPayloadDescriptor(Wire):
    """Units of an event's payload."""

    objectType: Literal["EVENT_PAYLOAD_DESCRIPTOR"]
    payloadType: Name
    units: Name | None = None
    currency: StrictStr | None = None


class ReportPayloadDescriptor(Wire):
    """Units and trust of a report's payload."""

    objectType: Literal["REPORT_PAYLOAD_DESCRIPTOR"]
    payloadType: Name
    readingType: Name | None = None
    units: Name | None = None
    accuracy: Number | None = None
    confidence: Annotated[StrictInt, Field(ge=0, le=100)] | None = None


class ReportDescriptor(Wire):
    """A report that is asked for."""

    payloadType: Name
    readingType: Name | None = None
    units: Name | None = None
    targets: list[Name] | None = None
    aggregate: StrictBool = False
    startInterval: StrictInt = -1
    numIntervals: StrictInt = -1
    historical: StrictBool = True
    frequency: StrictInt = -1
    repeat: StrictInt = 1
    reportIntervals: Literal["INTERVALS", "SUB_INTERVALS", "OPEN_INTERVALS"] = "INTERVALS"


class Description(Wire):
    """A link to words about a programme."""

    URL: Url


class Program(Wire):
    """programRequest."""

    programName: Name
    intervalPeriod: IntervalPeriod | None = None
    programDescriptions: list[Description] | None = None
    payloadDescriptors: list[EventPayloadDescriptor | ReportPayloadDescriptor] | None = None
    attributes: list[ValuesMap] | None = None
    targets: list[Name] | None = None


class Event(Wire):
    """eventRequest."""

    programID: ObjectId
    eventName: StrictStr | None = None
    duration: Duration | None = None
    priority: Annotated[StrictInt, Field(ge=0)] | None = None
    targets: list[Name] | None = None
    reportDescriptors: list[ReportDescriptor] | None = None
    payloadDescriptors: list[EventPayloadDescriptor] | None = None
    intervalPeriod: IntervalPeriod | None = None
    intervals: list[Interval] | None = None


class ReportResource(Wire):
    """One resource of a report."""

    resourceName: Name
    intervalPeriod: IntervalPeriod | None = None
    intervals: list[Interval]


class Report(Wire):
    """reportRequest."""

    eventID: ObjectId
    clientName: Name
    reportName: StrictStr | None = None
    payloadDescriptors: list[ReportPayloadDescriptor] | None = None
    resources: list[ReportResource]


class ObjectOperation(Wire):
    """What a subscriber wants to hear of, and where."""

    objects: list[ObjectType]
    operations: list[Operation]
    callbackUrl: Url
    bearerToken: StrictStr | None = None


class Subscription(Wire):
    """subscriptionRequest."""

    clientName: Name
    programID: ObjectId | None = None
    objectOperations: list[ObjectOperation]
    targets: list[Name] | None = None


class Ven(Wire):
    """venRequest, of either side."""

    objectType: Literal["VEN_VEN_REQUEST", "BL_VEN_REQUEST"]
    venName: Name
    clientID: Name | None = None
    targets: list[Name] | None = None
    attributes: list[ValuesMap] | None = None


class Resource(Wire):
    """resourceRequest, of either side."""

    objectType: Literal["VEN_RESOURCE_REQUEST", "BL_RESOURCE_REQUEST"]
    resourceName: Name
    venID: ObjectId
    clientID: Name | None = None
    targets: list[Name] | None = None
    attributes: list[ValuesMap] | None = None


def without_nulls(model: type[BaseModel], data: Any, where: str = "") -> list[str]:
    """Keys that are null where the interface description has no null."""
    if not isinstance(data, dict):
        return []
    may = {"programDescriptions", "payloadDescriptors", "attributes", "targets", "reportDescriptors", "eventName", "reportName", "priority"}
    return [f"{where}{k}" for k, v in data.items() if v is None and k in model.model_fields and k not in may]
