"""What the tests of source=sql share: the source as ``conf/source/sql.yaml`` makes it, and tables to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml
from sqlalchemy import event

from tsad.sources.sql.source import SqlSource

CONF = Path(__file__).parent.parent / "conf" / "source" / "sql.yaml"
WEIRD = 'weird "table"; drop table x -- 100%'
SECOND = 1_000_000_000
START = 1_704_067_200  # 2024-01-01T00:00:00Z


def sql_source(url: str | None, table: str = "readings", **options: Any) -> SqlSource:
    """The source that ``source=sql source.url=<url> source.table=<table>`` and further options give."""
    values = yaml.safe_load(CONF.read_text(encoding="utf-8")) | {"url": url, "table": table, "retry_seconds": 0.01}
    labels = values["labels_columns"] | options.pop("labels_columns", {})
    values |= {"labels_columns": labels, **options}
    return SqlSource(**{k: v for k, v in values.items() if k != "_target_"})


def fill(
    url: str, name: str, columns: Mapping[str, Any], rows: Sequence[Sequence[Any]], key: Sequence[str] = (),
    schema: str | None = None,
) -> sa.Table:
    """A table with these columns, primary key and rows."""
    engine = sa.create_engine(url)
    table = sa.Table(
        name, sa.MetaData(), *(sa.Column(c, kind, primary_key=c in key) for c, kind in columns.items()), schema=schema
    )
    table.create(engine)
    if rows:
        with engine.begin() as connection:
            # by position: the names of parameters are no place for odd column names
            made = [dict(zip(columns, row, strict=True)) for row in rows]
            connection.execute(table.insert(), made)
    engine.dispose()
    return table


def statements(source: SqlSource) -> list[str]:
    """What a source sends from now on."""
    sent: list[str] = []

    @event.listens_for(source._database.engine, "before_cursor_execute")
    def note(_c: Any, _u: Any, statement: str, _p: Any, _x: Any, _m: Any) -> None:
        sent.append(statement)

    return sent


def submission(point: str, who: str | None, when: Any, *spans: tuple[Any, Any], kind: str | None = None) -> list[Any]:
    """Rows of a labels table: one per interval, one without times where nothing is abnormal."""
    return [(point, a, b, kind, who, when) for a, b in spans or ((None, None),)]
