"""What a project is connected to: the webhook that tells a watcher of answers, the backend that pre-annotates tasks."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tsad.core.callbacks import SECRET_HEADER, WEBHOOK_PATH
from tsad.core.errors import ConfigError
from tsad.core.hosts import is_loopback
from tsad.review.label_studio.client import Client

ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
TITLE, USER = "tsad", "tsad"
TIMEOUT = 100.0  # seconds that Label Studio waits for a prediction
REFUSED_WITHIN = 1.0  # seconds; who says nothing for so long may be there
log = logging.getLogger("tsad")


def add_webhook(client: Client, project: int, url: str, secret: str) -> None:
    """Have answers told to ``url``: the secret in a header of its own, nothing of what was answered; twice is once.

    What killed watchers have left is taken away: an annotator's submit waits for every call that Label Studio makes.

    Raises:
        ConfigError: Label Studio calls no address of this kind.
    """
    fields = {
        "project": project, "url": url + WEBHOOK_PATH, "send_payload": False, "send_for_all_actions": False,
        "headers": {SECRET_HEADER: secret}, "is_active": True, "actions": list(ACTIONS),
    }  # fmt: skip
    remedy = "Or leave it out: watch.webhook=false looks every watch.poll_seconds."
    number = _number(client, "webhooks", project, url + WEBHOOK_PATH)
    client.connect("webhooks", fields, number, _refused(client, url, remedy))
    for other in client.connections("webhooks", project):
        if _is_ours(other) and other["url"] != fields["url"] and _is_dead(client, str(other["url"])):
            client.disconnect("webhooks", int(other["id"]))
            log.info("the webhook %s, where nobody listens any more, is taken away", other["url"])


def remove_webhook(client: Client, project: int, url: str) -> None:
    """Tell nothing to ``url`` any more."""
    number = _number(client, "webhooks", project, url + WEBHOOK_PATH)
    if number is not None:
        client.disconnect("webhooks", number)


def add_backend(client: Client, project: int, url: str, token: str) -> None:
    """Have ``url``, which answers already, asked about tasks without a prediction as they are opened; twice is once.

    Raises:
        ConfigError: Label Studio calls no address of this kind.
    """
    fields = {
        "project": project, "url": url, "title": TITLE, "auth_method": "BASIC_AUTH", "basic_auth_user": USER,
        "basic_auth_pass": token, "timeout": TIMEOUT, "is_interactive": False,
    }  # fmt: skip
    remedy = "Or leave connect=true out, and connect it under Settings > Model by a name that it may call."
    client.connect("ml", fields, _number(client, "ml", project, url), _refused(client, url, remedy))


def remove_backend(client: Client, project: int, url: str) -> None:
    """Ask ``url`` for nothing any more."""
    number = _number(client, "ml", project, url)
    if number is not None:
        client.disconnect("ml", number)


def _is_ours(webhook: Mapping[str, Any]) -> bool:
    """Whether a watcher made it."""
    return str(webhook["url"]).endswith(WEBHOOK_PATH) and SECRET_HEADER in (webhook.get("headers") or {})


def _is_dead(client: Client, url: str) -> bool:
    """Whether connections are refused there; who is silent, or cannot be asked from this machine, may be alive."""
    to = urlsplit(url)
    host = to.hostname or ""
    if is_loopback(host) and not is_loopback(urlsplit(client.url).hostname or ""):
        return False  # Label Studio's own machine, which is not this one
    try:
        socket.create_connection((host, to.port or (443 if to.scheme == "https" else 80)), REFUSED_WITHIN).close()
    except ConnectionRefusedError:
        return True
    except (OSError, ValueError):
        return False
    return False


def _number(client: Client, kind: str, project: int, url: str) -> int | None:
    """Id of the project's connection to that address."""
    return next((int(c["id"]) for c in client.connections(kind, project) if c["url"] == url), None)


def _refused(client: Client, url: str, remedy: str) -> ConfigError:
    return ConfigError(
        f"Label Studio at {client.url} refuses to call {url}: by default it calls nothing on its machine and network",
        "Start that server with SSRF_PROTECTION_ENABLED=false and ML_BLOCK_LOCAL_IP=false, which lets its members "
        f"reach whatever runs there. {remedy}",
    )
