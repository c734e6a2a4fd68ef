"""Rows per second from SQL into validated series, against ``pandas.read_sql`` per point in the same run; peak memory.

    python -m benchmarks.sql [--points 1000] [--rows 10000] [--one 10000000] [--databases sqlite postgresql]

Each way runs in a process of its own, so that its peak memory (beyond the imports) is its own. The baseline asks for
time and value of one point after the other, as people do, gets times as timestamps, and does not validate. Tables have
the primary key (point, time). PostgreSQL is started from Debian's package (tests/live/postgres.py).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import sqlalchemy as sa
import yaml

ROOT = Path(__file__).resolve().parents[1]
TABLES = ("many", "one")


def source_of(url: str, table: str):  # type: ignore[no-untyped-def]
    """``source=sql`` as its YAML makes it."""
    import os

    from tsad.sources.sql.source import SqlSource

    os.environ["TSAD_SQL_URL"] = url
    values = yaml.safe_load((ROOT / "conf" / "source" / "sql.yaml").read_text("utf-8"))
    values |= {"table": table, "max_rows": 10**9}
    return SqlSource(**{k: v for k, v in values.items() if k != "_target_"})


def by_tsad(url: str, table: str) -> int:
    """All points through the source; returns the rows."""
    from tsad.core.series import Series
    from tsad.sources.base import whole

    source = source_of(url, table)
    rows = 0
    for piece in source.fetch(source.points(), None, None):
        rows += len(whole(piece, source.rules)) if isinstance(piece, Series) else 0
    return rows


def by_pandas(url: str, table: str) -> int:
    """``pandas.read_sql`` for each point; returns the rows."""
    import pandas as pd

    engine = sa.create_engine(url)
    with engine.connect() as connection:
        points = list(connection.scalars(sa.text(f"select distinct point_id from {table} order by 1")))
        query = sa.text(f"select timestamp, value from {table} where point_id = :p order by timestamp")
        rows = 0
        for point in points:
            frame = pd.read_sql(query, connection, params={"p": point}, parse_dates=["timestamp"])
            rows += len(frame)
    return rows


def fill(url: str, points: int, rows: int, one: int) -> None:
    """Both tables, without any client in between."""
    engine = sa.create_engine(url)
    postgres = engine.dialect.name == "postgresql"
    with engine.begin() as connection:
        for table, count, each in (("many", points, rows), ("one", 1, one)):
            kind = "timestamptz" if postgres else "timestamp"
            connection.execute(sa.text(
                f"create table {table} (point_id text, timestamp {kind}, value double precision, "
                "primary key (point_id, timestamp))" + ("" if postgres else " without rowid")
            ))  # fmt: skip
            if postgres:
                connection.execute(sa.text(
                    f"insert into {table} select 'U1.P' || lpad(p::text, 5, '0'), "
                    "timestamptz '2024-01-01Z' + i * interval '1 second', sin(i + p) "
                    f"from generate_series(1, {count}) p, generate_series(0, {each - 1}) i"
                ))  # fmt: skip
                continue
            stamps = np.datetime_as_string(np.datetime64("2024-01-01T00:00:00") + np.arange(each)).tolist()
            texts = [s.replace("T", " ") + ".000000" for s in stamps]  # as SQLAlchemy writes a DateTime
            driver = connection.connection.driver_connection
            for p in range(1, count + 1):
                values = np.sin(np.arange(each) + p).tolist()
                driver.executemany(  # type: ignore[union-attr]
                    f"insert into {table} values ('U1.P{p:05d}', ?, ?)", zip(texts, values, strict=True)
                )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("analyze" if not postgres else "vacuum analyze"))
    engine.dispose()


@contextmanager
def database(kind: str) -> Iterator[str]:
    """The URL of a fresh one, removed afterwards."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "plant.db").touch()
            yield f"sqlite:///{folder}/plant.db"
        return
    sys.path.insert(0, str(ROOT / "tests" / "live"))
    from postgres import PostgresServer

    server = PostgresServer().start()
    try:
        yield server.url()
    finally:
        server.remove()


def measured(way: str, url: str, table: str) -> dict[str, float]:
    """One way in a process of its own: rows, seconds and MB beyond what the imports take."""
    command = [sys.executable, "-m", "benchmarks.sql", "--run", way, table]
    done = subprocess.run(command, cwd=ROOT, input=url, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def run(way: str, table: str) -> None:
    """Inside the process: do it once and print the figures."""
    url = sys.stdin.read()
    import pandas  # noqa: F401 - both ways have it, and neither is timed on it

    source_of(url, table)._database.engine  # noqa: B018 - the driver is imported here
    before = reset_peak()
    began = time.perf_counter()
    rows = {"tsad": by_tsad, "pandas": by_pandas}[way](url, table)
    seconds = time.perf_counter() - began
    print(json.dumps({"rows": rows, "seconds": seconds, "mb": peak() - before}))


def reset_peak() -> float:
    """Forget the highest use of memory so far, also that of the parent; returns the present one, MB (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> float:
    """Highest use of memory since the reset, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=10_000, help="of each point")
    parser.add_argument("--one", type=int, default=10_000_000, help="rows of the single large point")
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        run(*args.run)
        return
    for kind in args.databases:
        with database(kind) as url:
            began = time.perf_counter()
            fill(url, args.points, args.rows, args.one)
            print(f"{kind}: tables filled in {time.perf_counter() - began:.0f} s", flush=True)
            for table in TABLES:
                what = f"{args.points:,} points of {args.rows:,} rows" if table == "many" else f"{args.one:,} rows"
                speeds = {}
                for way in ("pandas", "tsad"):
                    found = measured(way, url, table)
                    speeds[way] = found["rows"] / found["seconds"]
                    print(
                        f"{kind:10s} {what:32s} {way:6s} {found['seconds']:7.1f} s {speeds[way]:12,.0f} rows/s "
                        f"{found['mb']:7.0f} MB", flush=True,
                    )  # fmt: skip
                ratio = speeds["tsad"] / speeds["pandas"]
                print(f"{kind:10s} {what:32s} tsad is {ratio:.1f} times as fast", flush=True)


if __name__ == "__main__":
    main()
