"""The first tables of history.

Revision 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INDEXED = {"setpoint_change": "at", "level_change": "at", "alarm_change": "at", "person_order": "at", "plan": "made_at"}


def upgrade() -> None:
    create_means()
    create_billing()
    create_decisions()
    create_orders_and_plans()
    for table, column in INDEXED.items():
        op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    for table, column in INDEXED.items():
        op.drop_index(f"ix_{table}_{column}", table)
    means = ["site_minute", "asset_minute", "class_minute", "asset_hour"]
    for table in [*means, "billing_interval", "month_peak", *INDEXED, "grid_event", "mark"]:
        op.drop_table(table)


def create_means() -> None:
    create("site_minute", key("start", instant()), number("poc_kw"), number("outdoor_temp_c"), number("tokens"))
    create("asset_minute", name("asset"), key("start", instant()), number("power_kw"), number("demand_kw"), number("soc"))
    create("class_minute", name("asset"), name("class_name"), key("start", instant()), number("demand_kw"))
    create(
        "asset_hour",
        name("asset"),
        key("start", instant()),
        number("mean_kw"),
        number("low_kw"),
        number("high_kw"),
        given("minutes", sa.Integer()),
    )


def create_billing() -> None:
    minutes = given("known_min", sa.Integer()), given("length_min", sa.Integer())
    create("billing_interval", key("start", instant()), number("import_kwh"), *minutes)
    create("month_peak", key("month", sa.String(7)), given("peak_kw", sa.Float()), given("at", instant()))


def create_decisions() -> None:
    create(
        "setpoint_change",
        *entry(),
        name("asset"),
        name("command"),
        given("at", instant()),
        given("kw", sa.Float()),
        given("reason", sa.Text()),
        given("is_written", sa.Boolean()),
    )
    create("level_change", *entry(), given("at", instant()), given("level", sa.String(2)), given("cause", sa.Text()))
    create("alarm_change", *entry(), key("text", sa.String(500)), given("at", instant()), given("is_raised", sa.Boolean()))


def create_orders_and_plans() -> None:
    create(
        "person_order",
        *entry(),
        key("position", sa.Integer()),
        given("at", instant()),
        sa.Column("kind", sa.String(20)),
        sa.Column("asset", sa.String(80)),
        sa.Column("given_by", sa.Text()),
        sa.Column("why", sa.Text()),
        given("body", sa.JSON()),
        sa.Column("answer", sa.Text()),
    )
    create("grid_event", key("id", sa.String(200)), given("at", instant()), given("body", sa.JSON()))
    create(
        "plan",
        key("hash", sa.String(16)),
        given("made_at", instant()),
        given("valid_until", instant()),
        number("peak_kw"),
        number("objective"),
        sa.Column("status", sa.String(40)),
        sa.Column("body", sa.JSON()),
    )
    create(
        "mark",
        name("name"),
        given("identity", sa.String(80)),
        given("position", sa.Integer()),
        given("memory", sa.JSON()),
        given("at", instant()),
    )


def create(table: str, *columns: sa.Column) -> None:
    keys = [c.name for c in columns if c.info.get("is_key")]
    op.create_table(table, *columns, sa.PrimaryKeyConstraint(*keys, name=f"pk_{table}"))


def entry() -> tuple[sa.Column, sa.Column]:
    return key("journal", sa.String(16)), key("sequence", sa.Integer())


def key(called: str, kind: sa.types.TypeEngine) -> sa.Column:
    return sa.Column(called, kind, nullable=False, info={"is_key": True})


def name(called: str) -> sa.Column:
    return key(called, sa.String(80))


def given(called: str, kind: sa.types.TypeEngine) -> sa.Column:
    return sa.Column(called, kind, nullable=False)


def number(called: str) -> sa.Column:
    return sa.Column(called, sa.Float())


def instant() -> sa.types.TypeEngine:
    return sa.DateTime(timezone=True)
