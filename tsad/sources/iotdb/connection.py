"""A session with an IoTDB server, spoken through the client's own Thrift interface.

``iotdb.Session`` makes a pandas frame of everything and asks for the next page when that is done. Here the next page
is asked for before the last one is decoded, and pages stay bytes until :mod:`blocks` reads them.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tsad.core.errors import AccessError, ConfigError, SourceError, SourceUnavailableError
from tsad.sources.iotdb.blocks import Block, decode

QueryResult = TypeVar("QueryResult")
_OK = (200, 400)  # success; success, and another node would be nearer
_WRONG_USER = (800, 801, 804)
_NO_RIGHT = 803
_NO_MEMORY = (709, 719)
# A server that is starting or has just lost a partner, a query it gave up, a session it no longer knows.
_PASSING = (301, 305, 306, 602, 717, 720, 802)
_QUERY_HOURS = 6  # the server gives a query up after 60 s otherwise; ours are as slow as who reads the series
_HANDSHAKE = 5.0  # seconds at most for each answer while connecting: a server that hangs there hangs altogether
_FRAME = 256 * 2**20  # bytes; Thrift's own limit of 16 MB breaks on wide rows


class LostError(Exception):
    """The connection broke, or the server said something that passes; worth another attempt."""


class MemoryShortError(Exception):
    """The server has not enough memory for this query; a smaller one may do."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """Where to connect and as whom.

    Attributes:
        nodes: host and port, tried in turn.
        user_env, password_env: the variables that user and password came from, for messages.
        timeout: seconds that one answer may take.
        retries: attempts after the first one that bring nothing, before the server counts as unreachable.
        dialect, database: model of the session, and for the table model its database.
    """

    nodes: tuple[tuple[str, int], ...]
    user: str
    password: str
    user_env: str
    password_env: str
    dialect: str
    timeout: float
    retries: int
    database: str = ""

    def __repr__(self) -> str:
        return f"Login({self.places})"  # never the password

    @property
    def places(self) -> str:
        return ", ".join(f"{host}:{port}" for host, port in self.nodes)


@dataclass(frozen=True, eq=False)
class Answer:
    """A query's columns, and its blocks as they arrive.

    Attributes:
        names, types: of the columns, as asked for.
        places: position of each in a block's columns.
    """

    names: list[str]
    types: list[str]
    places: list[int]
    blocks: Iterator[Block]


class Connection:
    """One session, opened when it is first needed and again after it broke."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self._client: Any = None
        self._transport: Any = None
        self._session = self._statement = 0
        self._node = 0
        self._precision = ""

    @property
    def precision(self) -> str:
        """The server's time precision: ``ms``, ``us`` or ``ns``."""
        if not self._precision:
            self.retried(self._open)
        return self._precision

    def query(self, sql: str, rows: int = 5_000) -> Answer:
        """Ask; no second attempt. ``rows``: per page.

        Raises:
            LostError: here or between blocks.
            MemoryShortError, AccessError, SourceError: the server refused.
        """
        from iotdb.thrift.rpc.ttypes import TSExecuteStatementReq

        timeout = _QUERY_HOURS * 3_600_000
        request = lambda: TSExecuteStatementReq(self._session, sql, self._statement, rows, timeout)  # noqa: E731
        reply = self._call(lambda client: client.executeQueryStatementV2(request()))
        names, places = list(reply.columns or []), reply.columnIndex2TsBlockColumnIndexList
        if places is None:
            index = reply.columnNameIndexMap or {}
            places = [index.get(name, k) for k, name in enumerate(names)]
        return Answer(names, list(reply.dataTypeList or []), list(places), self._blocks(sql, reply, rows, timeout))

    def table(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a short text answer, tried again where the connection breaks. Numbers come as int or float."""

        def ask() -> list[tuple[Any, ...]]:
            answer = self.query(sql)
            return [row for block in answer.blocks for row in rows_of(answer, block)]

        return self.retried(ask)

    def execute(self, sql: str) -> None:
        """Run a statement that answers nothing."""
        from iotdb.thrift.rpc.ttypes import TSExecuteStatementReq

        request = lambda: TSExecuteStatementReq(self._session, sql, self._statement)  # noqa: E731
        self.retried(lambda: self._call(lambda client: client.executeUpdateStatementV2(request())))

    def insert(self, **fields: Any) -> None:
        """Write one tablet; ``fields`` are those of ``TSInsertTabletReq`` but the session."""
        from iotdb.thrift.rpc.ttypes import TSInsertTabletReq

        request = lambda: TSInsertTabletReq(sessionId=self._session, **fields)  # noqa: E731
        self.retried(lambda: self._call(lambda client: client.insertTablet(request())))

    def retried(self, work: Callable[[], QueryResult]) -> QueryResult:
        """What ``work`` returns, tried again while the connection breaks.

        Raises:
            SourceUnavailableError: all attempts used up.
        """
        for attempt in range(self.login.retries + 1):
            try:
                return work()
            except LostError as error:
                self.pause(attempt, error)
        raise AssertionError("the last pause raises")

    def pause(self, attempt: int, error: LostError) -> None:
        """Wait before the next attempt, longer each time, and take the next node.

        Raises:
            SourceUnavailableError: there is no next attempt.
        """
        self.drop()
        if attempt >= self.login.retries:
            raise SourceUnavailableError(
                f"IoTDB at {self.login.places} does not answer: {error}",
                "Start the server or check source.nodes; what is cached can be read with cache.offline=only.",
            ) from error
        self._node += 1
        if self._node % len(self.login.nodes) == 0:  # all nodes had their turn
            time.sleep(min(0.5 * 2 ** (attempt // len(self.login.nodes)), 5.0))

    def drop(self) -> None:
        """Forget the connection without a word to the server, which ends the session's queries itself."""
        transport, self._client, self._transport = self._transport, None, None
        if transport is not None:
            transport.close()

    def close(self) -> None:
        """Say goodbye, where the server still listens."""
        from iotdb.thrift.rpc.ttypes import TSCloseSessionReq
        from thrift.Thrift import TException

        if self._client is not None:
            with contextlib.suppress(TException, OSError, EOFError):  # it is gone already
                self._client.closeSession(TSCloseSessionReq(self._session))
        self.drop()

    def _blocks(self, sql: str, reply: Any, rows: int, timeout: int) -> Iterator[Block]:
        from iotdb.thrift.rpc.ttypes import TSFetchResultsReq

        pages, more = reply.queryResult or [], bool(reply.moreData)
        request = TSFetchResultsReq(self._session, sql, rows, reply.queryId, True, timeout, self._statement)
        ended = False
        try:
            while True:
                if more:  # on its way while this page is decoded
                    self._call(lambda client: client.send_fetchResultsV2(request), checked=False)
                for page in pages:
                    if page:
                        yield decode(page)
                if not more:
                    break
                reply = self._call(lambda client: client.recv_fetchResultsV2())
                pages, more = reply.queryResult or [], bool(reply.moreData) and bool(reply.hasResultSet)
            ended = True  # and the server has let go of the query
        finally:
            if not ended:
                self.drop()  # an answer may be on its way; the next query must not take it for its own

    def _call(self, ask: Callable[[Any], QueryResult], checked: bool = True) -> QueryResult:
        """One exchange with the server; what breaks drops the connection."""
        from thrift.Thrift import TException

        if self._client is None:
            self._open()
        try:
            reply = ask(self._client)
        except (TException, OSError, EOFError) as error:
            self.drop()
            raise LostError(_brief(error)) from error
        if checked:
            self._check(reply)
        return reply

    def _check(self, reply: Any) -> None:
        status = getattr(reply, "status", reply)
        if status.code == 302:  # several parts: the first that failed speaks for all
            status = next((part for part in status.subStatus or [] if part.code not in _OK), status)
        if status.code in _OK:
            return
        said = f"{status.message} (code {status.code})"
        if status.code in _NO_MEMORY:
            raise MemoryShortError(said)
        if status.code in _WRONG_USER:
            raise AccessError(
                f"IoTDB at {self.login.places} refused user and password: {said}",
                f"Set {self.login.user_env} and {self.login.password_env}; without them it is IoTDB's own root/root.",
            )
        if status.code == _NO_RIGHT:
            raise AccessError(
                f"IoTDB at {self.login.places} refused user {self.login.user!r}: {said}",
                "Reading needs READ_DATA and READ_SCHEMA, writing detections back WRITE_DATA and WRITE_SCHEMA: "
                f"GRANT READ_DATA, READ_SCHEMA ON root.** TO USER {self.login.user}",
            )
        if status.code in _PASSING:
            raise LostError(said)
        raise SourceError(f"IoTDB at {self.login.places}: {said}")

    def _open(self) -> None:
        from iotdb.thrift.rpc.IClientRPCService import Client
        from iotdb.thrift.rpc.ttypes import TSOpenSessionReq, TSProtocolVersion
        from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
        from thrift.Thrift import TException
        from thrift.transport import TSocket, TTransport

        logging.getLogger("thrift.transport.TSocket").setLevel(logging.CRITICAL)  # our own errors say it once
        host, port = self.login.nodes[self._node % len(self.login.nodes)]
        socket = TSocket.TSocket(host, port)
        socket.setTimeout(min(self.login.timeout, _HANDSHAKE) * 1000)
        self._transport = TTransport.TFramedTransport(socket, max_frame_size=_FRAME)
        try:
            self._transport.open()
            client = Client(TBinaryProtocolAccelerated(self._transport))
            # Times go and come as integers; the zone only keeps the server from using its own.
            reply = client.openSession(TSOpenSessionReq(
                client_protocol=TSProtocolVersion.IOTDB_SERVICE_PROTOCOL_V3, username=self.login.user,
                password=self.login.password, zoneId="UTC",
                configuration={"version": "V_1_0", "sql_dialect": self.login.dialect}
                | ({"db": self.login.database} if self.login.database else {}),
            ))  # fmt: skip
            self._check(reply)
            self._session = reply.sessionId
            self._statement = client.requestStatementId(self._session)
            socket.setTimeout(self.login.timeout * 1000)
        except (TException, OSError, EOFError) as error:
            self.drop()
            raise LostError(_brief(error)) from error
        except (SourceError, LostError, MemoryShortError):
            self.drop()
            raise
        self._client = client
        precision = (reply.configuration or {}).get("timestamp_precision", "ms")
        if self._precision not in ("", precision):
            raise SourceError(f"the nodes {self.login.places} differ in time precision", "Name nodes of one cluster.")
        self._precision = precision


def rows_of(answer: Answer, block: Block) -> Iterator[tuple[Any, ...]]:
    """The rows of a short block as Python values, null as ``None``."""
    out = []
    for place, kind in zip(answer.places, answer.types, strict=True):
        if place < 0:
            out.append(block.times.tolist())
            continue
        column = block.columns[place]
        if kind in ("TEXT", "STRING"):
            texts = column.texts()
            out.append(texts * block.rows if column.constant else texts)
            continue
        present = column.present()
        numbers = iter(column.numbers(kind).tolist())
        out.append([next(numbers) if present is None or present[k] else None for k in range(block.rows)])
    yield from zip(*out, strict=True)


def parse_nodes(nodes: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """``host:port`` texts.

    Raises:
        ConfigError: another form, or none at all.
    """
    out = []
    for node in nodes:
        host, _, port = str(node).rpartition(":")
        if "@" in str(node):
            raise ConfigError(
                "source.nodes holds a login", "Write host:port; user and password come from user_env and password_env."
            )
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(f"source.nodes: {node!r} is not host:port", "Write e.g. source.nodes=[127.0.0.1:6667].")
        out.append((host.strip("[]"), int(port)))
    if not out:
        raise ConfigError("source.nodes is empty", "Write e.g. source.nodes=[127.0.0.1:6667].")
    return tuple(out)


def _brief(error: BaseException) -> str:
    text = str(getattr(error, "message", None) or error or "").strip()
    return text or type(error).__name__
