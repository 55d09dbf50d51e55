"""How Alembic reaches the history database: through the connection `ems.history.schema` hands over, else through EMS_DB_URL."""

import os

from alembic import context
from sqlalchemy import Connection, create_engine

from ems.history.tables import metadata


def migrate(connection: Connection) -> None:
    """Runs the asked migrations in one transaction. SQLite cannot alter a table in place: batch mode copies it."""
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    with create_engine(os.environ["EMS_DB_URL"]).begin() as opened:
        migrate(opened)
