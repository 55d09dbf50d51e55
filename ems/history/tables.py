"""The tables of history. Core tables only: rows go in as tuples, thousands at a time. Missing values are NULL, never zero.

Rows that come from the journal carry `journal` (its identity) and `sequence` (the entry), so shipping the same entry twice changes
nothing. Units stand in the column names; powers in our sign (into the asset positive).
"""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text

from ems.history.utc import UtcTime

NAMING = {"ix": "ix_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s"}
metadata = MetaData(naming_convention=NAMING)

site_minute = Table(  # means over [start, start + 60 s)
    "site_minute",
    metadata,
    Column("start", UtcTime, primary_key=True),
    Column("poc_kw", Float),
    Column("outdoor_temp_c", Float),
    Column("tokens", Float),
)

asset_minute = Table(
    "asset_minute",
    metadata,
    Column("asset", String(80), primary_key=True),
    Column("start", UtcTime, primary_key=True),
    Column("power_kw", Float),
    Column("demand_kw", Float),  # clusters: what they would draw without a cap
    Column("soc", Float),  # stores, fraction
)

class_minute = Table(
    "class_minute",
    metadata,
    Column("asset", String(80), primary_key=True),
    Column("class_name", String(80), primary_key=True),
    Column("start", UtcTime, primary_key=True),
    Column("demand_kw", Float),
)

asset_hour = Table(  # what remains of minutes after retention; `minutes` says how many were known
    "asset_hour",
    metadata,
    Column("asset", String(80), primary_key=True),
    Column("start", UtcTime, primary_key=True),
    Column("mean_kw", Float),
    Column("low_kw", Float),
    Column("high_kw", Float),
    Column("minutes", Integer, nullable=False),
)

billing_interval = Table(  # import energy of one interval of the tariff, as far as its minutes are known
    "billing_interval",
    metadata,
    Column("start", UtcTime, primary_key=True),
    Column("import_kwh", Float),
    Column("known_min", Integer, nullable=False),
    Column("length_min", Integer, nullable=False),
)

month_peak = Table(  # highest mean import of the intervals of a local billing month
    "month_peak",
    metadata,
    Column("month", String(7), primary_key=True),  # local, as 2024-08
    Column("peak_kw", Float, nullable=False),
    Column("at", UtcTime, nullable=False),
)

setpoint_change = Table(
    "setpoint_change",
    metadata,
    Column("journal", String(16), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("asset", String(80), primary_key=True),
    Column("command", String(80), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("kw", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("is_written", Boolean, nullable=False),
    Index(None, "at"),
)

level_change = Table(
    "level_change",
    metadata,
    Column("journal", String(16), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("level", String(2), nullable=False),
    Column("cause", Text, nullable=False),
    Index(None, "at"),
)

alarm_change = Table(
    "alarm_change",
    metadata,
    Column("journal", String(16), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("text", String(500), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("is_raised", Boolean, nullable=False),
    Index(None, "at"),
)

person_order = Table(  # `position` counts the orders of one cycle; `answer` is NULL until the journal holds it
    "person_order",
    metadata,
    Column("journal", String(16), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("kind", String(20)),
    Column("asset", String(80)),
    Column("given_by", Text),
    Column("why", Text),
    Column("body", JSON, nullable=False),
    Column("answer", Text),
    Index(None, "at"),
)

grid_event = Table(
    "grid_event",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("at", UtcTime, nullable=False),  # when control took it
    Column("body", JSON, nullable=False),
)

plan = Table(  # `body` is the encoded plan, NULL once retention has dropped it
    "plan",
    metadata,
    Column("hash", String(16), primary_key=True),
    Column("made_at", UtcTime, nullable=False),
    Column("valid_until", UtcTime, nullable=False),
    Column("peak_kw", Float),
    Column("objective", Float),
    Column("status", String(40)),
    Column("body", JSON(none_as_null=True)),
    Index(None, "made_at"),
)

mark = Table(  # how far a source is shipped; `identity` tells a replaced source from the one before
    "mark",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("identity", String(80), nullable=False),
    Column("position", Integer, nullable=False),
    Column("memory", JSON, nullable=False),  # what the next step compares with
    Column("at", UtcTime, nullable=False),
)
