"""What commands need to know of a Hub that they are not part of: its settings and its database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from sqlalchemy import Text, create_engine, literal_column, select
from sqlalchemy.engine import make_url
from traitlets.config import Config
from traitlets.utils.importstring import import_item

from ..core.state import Server


def load_hub(config_file: Path | None, db: str | None) -> tuple[Config, str]:
    """The settings of the file, and where the database is: ``db``, or as the file says."""
    if config_file is None:
        return Config(), db or ""
    app = JupyterHub.instance()
    app.load_config_file(str(config_file))
    config: Config = app.config
    return config, db or config.JupyterHub.get("db_url") or app.db_url


def backend_class(config: Config, name: str, otherwise: Any) -> Any:
    """The class of a backend; ``otherwise`` where the settings name none."""
    target = config.PanoscSpawner.get("backends", {}).get(name, otherwise)
    return import_item(target) if isinstance(target, str) else target


def running_servers(db: str) -> list[Server]:
    """Servers that are not stopped. Raises ``SQLAlchemyError`` or
    ``ValueError``; never writes to the database."""
    url = make_url(db)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        # A missing file is then an error instead of a new, empty database without any server.
        url = make_url(f"sqlite:///file:{url.database}?mode=ro&uri=true")
    engine = create_engine(url)
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(postgresql_readonly=True)
    spawner, user = orm.Spawner, orm.User
    query = (
        select(user.name, spawner.name, literal_column("spawners.state", Text))
        .join(user, spawner.user_id == user.id)
        .where(spawner.server_id.is_not(None))
    )
    with engine.connect() as connection:
        rows = connection.execute(query)
        return [Server(who, name, json.loads(state or "{}")) for who, name, state in rows]
