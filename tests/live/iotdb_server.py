"""A real IoTDB for tests and benchmarks: own ports, own data, started, killed and started again."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

PORTS = (
    "cn_internal_port", "cn_consensus_port", "dn_rpc_port", "dn_internal_port", "dn_mpp_data_exchange_port",
    "dn_schema_region_consensus_port", "dn_data_region_consensus_port",
)  # fmt: skip
# The official distribution writes below its own folder unless each of these says otherwise; all are absolute here.
FOLDERS = {
    "cn_system_dir": "confignode/system", "cn_consensus_dir": "confignode/consensus",
    "dn_system_dir": "datanode/system", "dn_data_dirs": "datanode/data", "dn_consensus_dir": "datanode/consensus",
    "dn_wal_dirs": "datanode/wal", "dn_tracing_dir": "datanode/tracing", "dn_sync_dir": "datanode/sync",
    "sort_tmp_dir": "datanode/tmp",
}  # fmt: skip
_SIMPLE = "org.apache.iotdb.consensus.simple.SimpleConsensus"
# Consensus among several nodes keeps 16 MB and more of direct memory for each region, which are soon used up.
ALONE = {f"{kind}_consensus_protocol_class": _SIMPLE for kind in ("config_node", "schema_region", "data_region")}
ALONE |= {"wal_buffer_size_in_byte": "4194304"}
PATIENCE = 120.0  # seconds until a fresh server answers on a busy machine; 3 are usual
_TYPES = {"?": "BOOLEAN", "i": "INT32", "l": "INT64", "f": "FLOAT", "d": "DOUBLE", "U": "TEXT", "O": "TEXT"}


def find_home() -> Path | None:
    """The unpacked IoTDB: ``IOTDB_HOME``, else ``../shared/iotdb`` beside the checkout; ``None`` = there is none."""
    given = os.environ.get("IOTDB_HOME")
    home = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "iotdb"
    return home if (home / "sbin" / "start-datanode.sh").exists() else None


class IoTDBServer:
    """One config node and one data node on free ports of 127.0.0.1, with configuration and data below ``folder``.

    Args:
        folder: kept by ``stop`` and ``kill``, so that ``start`` goes on with the same data and ports.
        settings: more lines of ``iotdb-system.properties``, e.g. ``{"timestamp_precision": "ns"}``.
        java_zone: time zone of the server's own process.
    """

    host = "127.0.0.1"
    user = "root"
    password = "root"

    def __init__(
        self, folder: Path, settings: dict[str, str] | None = None, java_zone: str = "", heap: str = "256M"
    ) -> None:
        home = find_home()
        if home is None:
            raise FileNotFoundError("no IoTDB: IOTDB_HOME names an unpacked one")
        self.home, self.folder, self.java_zone, self.heap = home, folder, java_zone, heap
        self.settings = settings or {}
        self._ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._sessions: dict[str, Any] = {}
        self._configure()

    @property
    def port(self) -> int:
        return self._ports["dn_rpc_port"]

    @property
    def url(self) -> str:
        """``host:port``, as ``source.nodes`` takes it."""
        return f"{self.host}:{self.port}"

    @property
    def precision(self) -> str:
        return self.settings.get("timestamp_precision", "ms")

    @property
    def running(self) -> bool:
        """Whether it was started and not ended since."""
        return bool(self._nodes)

    def start(self) -> None:
        """Start both nodes and wait until they answer.

        Raises:
            RuntimeError: a node ended, or nothing answered in time; the message ends with the log.
        """
        assert not self._nodes, "it is running"
        environment = os.environ | {
            "IOTDB_CONF": str(self.folder / "conf"), "CONFIGNODE_CONF": str(self.folder / "conf"),
            "IOTDB_DATA": str(self.folder / "data"), "IOTDB_HEAP": self.heap, "MEMORY_SIZE": self.heap,
        }  # fmt: skip
        if self.java_zone:
            environment |= {"TZ": self.java_zone}
        for script in ("start-confignode.sh", "start-datanode.sh"):
            with (self.folder / f"{script}.log").open("ab") as log:
                self._nodes.append(subprocess.Popen(
                    [str(self.home / "sbin" / script)], env=environment, cwd=self.folder, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, start_new_session=True,
                ))  # fmt: skip
        logging.getLogger("thrift.transport.TSocket").setLevel(logging.CRITICAL)  # it logs every refused connection
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            ended = [node for node in self._nodes if node.poll() is not None]
            if ended or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"IoTDB did not start:\n{self._log()}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End both nodes by signal; kill them if they take longer than 20 s."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9`` to both nodes."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the data node: connections stay open and nothing is answered."""
        os.killpg(self._nodes[-1].pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.killpg(self._nodes[-1].pid, signal.SIGCONT)

    def session(self, dialect: str = "tree", user: str = "root", password: str = "root") -> Any:
        """An open ``iotdb.Session`` in the zone UTC; the caller closes it."""
        from iotdb.Session import Session

        session = Session(self.host, self.port, user, password, zone_id="UTC", enable_redirection=False)
        session.sql_dialect = dialect
        session.open(False)
        return session

    def execute(self, sql: str, dialect: str = "tree") -> Any:
        """Run one statement as root; a query's rows as a pandas frame, ``None`` for anything else."""
        answer = self._session(dialect).execute_statement(sql)
        if answer is None:
            return None
        with answer:
            return answer.todf()

    def write(self, path: str, timestamps: Sequence[int] | np.ndarray, values: Sequence[Any] | np.ndarray) -> None:
        """Write one timeseries of the tree model: times in the server's precision (ms by default), values of one type.

        Args:
            path: the whole path, with back-quotes where a name needs them, e.g. ``root.plant.u1.`温度.PV```.
        """
        from iotdb.utils.IoTDBConstants import TSDataType
        from iotdb.utils.NumpyTablet import NumpyTablet

        device, measurement = split_path(path)
        stamps, data = np.asarray(timestamps, np.int64), np.asarray(values)
        kind = TSDataType[_TYPES[data.dtype.char]]
        for at in range(0, len(stamps), 100_000):
            part = slice(at, at + 100_000)
            tablet = NumpyTablet(device, [measurement], [kind], [data[part]], stamps[part])
            self._session("tree").insert_tablet(tablet)

    def _session(self, dialect: str) -> Any:
        if dialect not in self._sessions:
            self._sessions[dialect] = self.session(dialect)
        return self._sessions[dialect]

    def _configure(self) -> None:
        conf, data = self.folder / "conf", self.folder / "data"
        shutil.copytree(self.home / "conf", conf, copy_function=shutil.copyfile)
        for folder in (conf, data):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        seed = f"127.0.0.1:{self._ports['cn_internal_port']}"
        wanted = {
            "cn_internal_address": self.host, "dn_rpc_address": self.host, "dn_internal_address": self.host,
            "cn_seed_config_node": seed, "dn_seed_config_node": seed,
            **{key: str(port) for key, port in self._ports.items()},
            **{key: str(data / place) for key, place in FOLDERS.items()},
            **ALONE,
            **self.settings,
        }  # fmt: skip
        path = conf / "iotdb-system.properties"
        kept = [line for line in path.read_text().splitlines() if line.partition("=")[0].strip() not in wanted]
        path.write_text("\n".join([*kept, *(f"{key}={value}" for key, value in wanted.items())]) + "\n")

    def _answers(self) -> bool:
        from iotdb.utils.exception import IoTDBConnectionException, StatementExecutionException

        try:
            session = self.session()
            session.execute_query_statement("show databases").close_operation_handle()
            session.close()
        except (IoTDBConnectionException, StatementExecutionException):
            return False
        return True

    def _end(self, number: int) -> None:
        for session in self._sessions.values():
            if number == signal.SIGTERM:
                session.close()
        self._sessions = {}
        for node in reversed(self._nodes):
            _signal(node, number)
        for node in self._nodes:
            try:
                node.wait(20)
            except subprocess.TimeoutExpired:
                _signal(node, signal.SIGKILL)
                node.wait()
        self._nodes = []

    def _log(self) -> str:
        logs = [*self.folder.glob("*.log"), *(self.folder / "data" / "logs").glob("*.log")]
        return "\n".join(f"{p.name}: {p.read_text(errors='replace')[-1500:]}" for p in logs)


def split_path(path: str) -> tuple[str, str]:
    """Device and measurement of a path; dots inside back-quotes do not part."""
    quoted, at = False, -1
    for position, sign in enumerate(path):
        quoted ^= sign == "`"
        if sign == "." and not quoted:
            at = position
    return path[:at], path[at + 1 :]


def _signal(node: subprocess.Popen[bytes], number: int) -> None:
    """To the whole group: the official scripts may leave a shell in between."""
    try:
        os.killpg(node.pid, number)
        os.killpg(node.pid, signal.SIGCONT)
    except ProcessLookupError:
        pass


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now, told apart by holding all of them at once."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports
