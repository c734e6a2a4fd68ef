"""A WebSocket both ways: subscribe to jobs, hear their events, and ask something of them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from tsad.core.errors import TsadError
from tsad.service.access import given_token, same
from tsad.service.errors import RequestRefused, body_of
from tsad.service.fanout import Over, TooSlowError
from tsad.service.json_bodies import fitting
from tsad.service.live import ControlBody, Training, refuse_ahead
from tsad.service.streams import position

log = logging.getLogger("tsad")

PROTOCOL, BEARER = "tsad", "bearer."  # subprotocols: ours, and one that carries the token where no header can
TOKEN_SECONDS = 10.0  # for the first message with the token
SUBSCRIPTIONS = 32  # of one socket
POLICY, TRY_AGAIN, GOING = 1008, 1013, 1001  # RFC 6455, 7.4.1


def sockets(training: Training, token: str, path: str) -> APIRouter:
    """The socket at ``path``.

    The token comes in ``Authorization``, as the subprotocol ``bearer.TOKEN`` beside ``tsad``, or in the first message,
    ``{"token": ...}``; never in the address, which others log.
    """
    router = APIRouter()

    @router.websocket(path)
    async def socket(websocket: WebSocket) -> None:
        if not _same_origin(websocket):
            await websocket.close(POLICY, "a page of another site")
            return
        offered = websocket.scope.get("subprotocols", [])
        await websocket.accept(PROTOCOL if PROTOCOL in offered else None)
        carried = next((p.removeprefix(BEARER) for p in offered if p.startswith(BEARER)), "")
        held = carried or given_token(websocket.headers.get("authorization", ""))
        try:
            if not same(held or await _first(websocket), token):
                await websocket.close(POLICY, "the token is missing or wrong")
                return
            await _Talk(websocket, training).go_on()
        except WebSocketDisconnect:
            return

    return router


def _same_origin(websocket: WebSocket) -> bool:
    """Whether no page of another site opened it: a browser sends a kept password along whoever asks."""
    origin = websocket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == websocket.headers.get("host")


async def _first(websocket: WebSocket) -> str:
    """The token of the first message; "" where that is none."""
    try:
        async with asyncio.timeout(TOKEN_SECONDS):
            return str(_object(await websocket.receive_text()).get("token", ""))
    except (TimeoutError, TsadError):
        return ""


def _object(text: str) -> dict[str, Any]:
    """Raises RequestRefused: 400: it is no JSON object."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise RequestRefused(400, "the message is no JSON object", 'Send {"action": "subscribe", "job": ID}.')
    return values


class _Talk:
    """One socket that has shown the token."""

    def __init__(self, websocket: WebSocket, training: Training) -> None:
        self._socket, self._training, self._fanout = websocket, training, training.fanout
        self._heard: dict[str, asyncio.Task[None]] = {}
        self._sending = asyncio.Lock()

    async def go_on(self) -> None:
        """Answer messages until either side ends it."""
        await self._say({"event": "ready"})
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] != "websocket.receive":
                    return
                await self._answer(message.get("text") or "")
        finally:
            tasks = tuple(self._heard.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, text: str) -> None:
        try:
            values = _object(text)
            action = values.get("action")
            if action == "subscribe":
                await self._subscribe(values)
            elif action == "unsubscribe":
                await self._unsubscribe(_job_of(values))
            elif action == "ping":
                await self._say({"event": "pong"})
            else:
                asked = fitting(ControlBody, values)
                job = await run_in_threadpool(self._training.ask, asked.job, asked.action)
                await self._say({"event": "asked", "action": asked.action, "job": asked.job, "state": job.state})
        except TsadError as error:
            await self._say({"event": "error", **body_of(error)})

    async def _subscribe(self, values: Mapping[str, Any]) -> None:
        """``{"job": ID, "since": id of an event}``; a second one to the same job begins anew."""
        job = await run_in_threadpool(self._training.named, _job_of(values))
        after = position(str(values.get("since", "")), job)
        await self._unsubscribe(job, say=False)
        if len(self._heard) >= SUBSCRIPTIONS:
            raise RequestRefused(429, f"{SUBSCRIPTIONS} jobs are subscribed to already", "Unsubscribe from one.")
        last, _ = await self._fanout.last(job, after)
        refuse_ahead(job, after, last)
        await self._say({"event": "subscribed", "job": job})
        self._heard[job] = asyncio.create_task(self._hear(job, after))

    async def _unsubscribe(self, job: str, say: bool = True) -> None:
        task = self._heard.pop(job, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if say:
            await self._say({"event": "unsubscribed", "job": job})

    async def _hear(self, job: str, after: int) -> None:
        """Pass a job's events on; one that takes nothing for too long is let go with its socket."""
        try:
            async with aclosing(self._fanout.events(job, after)) as batches:
                async for batch in batches:
                    if isinstance(batch, Over):
                        await self._say({"event": "end", "job": job, "state": batch.state})
                        self._heard.pop(job, None)
                        return
                    for told in batch:
                        await self._send(f'{{"event":"{told.kind}",{told.text[1:]}')
        except TsadError as error:
            log.info("job %s: a socket is cut: %s", job, error.found)
            await self._say({"event": "cut", "job": job, **body_of(error)})
            await self._socket.close(TRY_AGAIN if isinstance(error, TooSlowError) else GOING, error.found)
        except TimeoutError:
            log.warning("job %s: a socket took nothing for %g s and is let go", job, self._fanout.pace.send)
            await self._socket.close(TRY_AGAIN, "took nothing for too long")

    async def _say(self, values: Mapping[str, Any]) -> None:
        await self._send(json.dumps(values, ensure_ascii=False))

    async def _send(self, text: str) -> None:
        async with asyncio.timeout(self._fanout.pace.send), self._sending:
            await self._socket.send_text(text)


def _job_of(values: Mapping[str, Any]) -> str:
    job = values.get("job", "")
    if not isinstance(job, str) or (job and not (job.isascii() and job.isalnum() and len(job) <= 64)):
        raise RequestRefused(422, "job is no id of a job", "GET /api/v1/jobs lists them.")
    return job
