"""Rows per second and peak memory: ``source=iotdb`` into validated series, against the client's ``todf()`` per point.

Starts an IoTDB of its own (``IOTDB_HOME``, else ``../shared/iotdb``; Java 17), writes random walks, and reads them in a
fresh process for each measurement, ours and the client's in turn: ``Session.execute_query_statement`` and
``SessionDataSet.todf()`` with the client's defaults, one query per point, frames neither kept nor validated; ours
with the defaults of ``conf/source/iotdb.yaml``, series not kept either. Prints medians, their ratio, and the most
memory that reading added to a process that had everything imported, beside the most it had at all.

The server runs with the optimising Java compiler, as the official distribution does (``--quick`` leaves it out, as
``../shared/iotdb`` does by itself): in a server half as fast, both wait for the server. Java compiles a query path as
it is used, so both are read ``--warm`` times before what counts; the very first reads are printed too.

    python benchmarks/iotdb.py [--points 1000] [--rows 10000] [--long 10000000] [--warm 8] [--repeat 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[0:1] = [str(ROOT), str(ROOT / "tests" / "live")]  # without this folder, whose iotdb.py is not the client
T0 = 1_700_000_000_000


def write(server: Any, points: int, rows: int, per_device: int, length: int, aligned: bool) -> None:
    """``root.many.u<d>.p<k>``: ``points`` of ``rows``; ``root.long.u0.p``: one of ``length``."""
    from iotdb.utils.IoTDBConstants import TSDataType
    from iotdb.utils.NumpyTablet import NumpyTablet

    rng = np.random.default_rng(0)
    session = server.session()

    def insert(device: str, names: list[str], count: int) -> None:
        for at in range(0, count, 100_000):
            size = min(100_000, count - at)
            values = [rng.normal(size=size).cumsum() for _ in names]
            stamps = T0 + 1_000 * np.arange(at, at + size)
            tablet = NumpyTablet(device, names, [TSDataType.DOUBLE] * len(names), values, stamps)
            (session.insert_aligned_tablet if aligned else session.insert_tablet)(tablet)

    for device in range(-(-points // per_device)):
        insert(f"root.many.u{device}", [f"p{k}" for k in range(min(per_device, points - device * per_device))], rows)
    insert("root.long.u0", ["p"], length)
    session.execute_non_query_statement("flush")
    session.close()


def ours(port: int, path: str) -> int:
    """Rows of validated series."""
    import yaml

    from tsad.core.series import Series
    from tsad.sources.iotdb import IotdbSource

    options = yaml.safe_load((ROOT / "conf" / "source" / "iotdb.yaml").read_text(encoding="utf-8"))
    del options["_target_"]
    source = IotdbSource(**options | {"nodes": [f"127.0.0.1:{port}"], "paths": [path]})
    return sum(len(item) for item in source.fetch(source.points(), None, None) if isinstance(item, Series))


def client(port: int, path: str) -> int:
    """Rows of frames, a query per point."""
    from iotdb.Session import Session

    session = Session("127.0.0.1", port, zone_id="UTC")
    session.open(False)
    with session.execute_query_statement(f"show timeseries {path}") as answer:
        names = answer.todf()["Timeseries"].tolist()
    total = 0
    for name in names:
        device, _, measurement = name.rpartition(".")
        with session.execute_query_statement(f"select {measurement} from {device}") as answer:
            total += len(answer.todf())
    session.close()
    return total


def measured(who: str, port: int, path: str) -> None:
    """Runs in a process of its own; prints rows, seconds and MB."""
    import resource

    # Before memory is looked at.
    import iotdb.Session  # noqa: F401
    import pandas  # noqa: F401

    import tsad.sources.iotdb  # noqa: F401

    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # noqa: E731
    before, began = peak(), time.perf_counter()
    rows = {"ours": ours, "client": client}[who](port, path)
    print(json.dumps({"rows": rows, "seconds": time.perf_counter() - began, "mb": peak() - before, "peak": peak()}))


def compare(title: str, port: int, path: str, warm: int, repeat: int) -> None:
    results: dict[str, list[dict[str, float]]] = {"client": [], "ours": []}
    for _ in range(warm + repeat):
        for who, done in results.items():
            command = [sys.executable, __file__, "--measure", who, str(port), path]
            done.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    first = [results[who][0]["rows"] / results[who][0]["seconds"] / 1e6 for who in ("client", "ours")]
    print(f"{title}  first reads: {first[0]:.2f} and {first[1]:.2f} M rows/s, ratio {first[1] / first[0]:.2f}")
    results = {who: done[warm:] for who, done in results.items()}
    rates = {}
    for who, label in (("client", "todf() per point"), ("ours", "source=iotdb")):
        rates[who] = statistics.median(r["rows"] / r["seconds"] for r in results[who])
        added, peak = (statistics.median(r[key] for r in results[who]) for key in ("mb", "peak"))
        rows = int(results[who][0]["rows"])
        print(f"{title}  {label:<17} {rows:>12,} rows {rates[who] / 1e6:8.2f} M rows/s  +{added:.0f} MB, {peak:.0f} MB")
    print(f"{title}  ratio {rates['ours'] / rates['client']:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=10_000, help="per point")
    parser.add_argument("--per-device", type=int, default=20, help="points of one device")
    parser.add_argument("--long", type=int, default=10_000_000, help="rows of the one long point")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--warm", type=int, default=8, help="reads of the many points before those that count")
    parser.add_argument("--heap", default="512M", help="of the server")
    parser.add_argument("--aligned", action="store_true", help="write aligned timeseries: one time for each device")
    parser.add_argument("--quick", action="store_true", help="without the optimising compiler")
    parser.add_argument("--measure", nargs=3, metavar=("WHO", "PORT", "PATH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measured(args.measure[0], int(args.measure[1]), args.measure[2])
        return
    from iotdb_server import IoTDBServer

    if not args.quick:
        os.environ["_JAVA_OPTIONS"] = "-XX:TieredStopAtLevel=4"
    with tempfile.TemporaryDirectory() as place:
        server = IoTDBServer(Path(place), heap=args.heap)
        server.start()
        try:
            began = time.perf_counter()
            write(server, args.points, args.rows, args.per_device, args.long, args.aligned)
            print(f"written in {time.perf_counter() - began:.0f} s", flush=True)
            compare(f"{args.points:,} points x {args.rows:,}", server.port, "root.many.**", args.warm, args.repeat)
            compare(f"1 point x {args.long:,}", server.port, "root.long.**", min(1, args.warm), args.repeat)
        finally:
            server.kill()


if __name__ == "__main__":
    main()
