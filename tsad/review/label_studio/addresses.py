"""Which addresses the embedded Label Studio is reached at: this machine's own, to begin with."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tsad.core.errors import ReviewError
from tsad.core.hosts import is_loopback

HOST = "127.0.0.1"


def own_address(host: str) -> str:
    """The IPv4 address that a name or an address of this machine stands for.

    Raises:
        ReviewError: it is none of this machine's, or stands for all of them.
    """
    remedy = "Name the address that colleagues reach this machine at, e.g. host=192.168.1.20 (ip addr lists them)."
    try:
        address = socket.gethostbyname(host)
    except (OSError, UnicodeError) as error:
        raise ReviewError(f"host={host} is no address and no name that this machine can look up", remedy) from error
    if ipaddress.ip_address(address).is_unspecified:
        raise ReviewError(f"host={host} would open Label Studio on every network of this machine", remedy)
    if not is_own(address):
        raise ReviewError(f"host={host} ({address}) is no address of this machine", remedy)
    return address


def is_own(address: str) -> bool:
    """Whether a server could listen at this address here; no name is looked up for it."""
    if is_loopback(address):
        return True
    try:
        return is_free(str(ipaddress.IPv4Address(address)), 0)
    except ValueError:  # a name
        return False


def is_free(address: str, port: int) -> bool:
    """Whether a server can listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def is_free_for_us(address: str, port: int) -> bool:
    """Whether Label Studio can listen there: it takes another port where this one is in use at localhost."""
    return is_free(address, port) and is_free(HOST, port)


@contextmanager
def reserved_port(address: str, wanted: Sequence[int]) -> Iterator[int]:
    """The first of these ports, else any, that is free for Label Studio and that no other start is about to take.

    A server binds its port seconds after it was started, and two starts would both find the same one free meanwhile. So
    the UDP port of the same number is held as a sign, which nothing of ours uses and which a killed start gives up.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sign:
        for port in wanted:
            if is_free_for_us(address, port) and _taken(sign, port):
                yield port
                return
        while not _taken(sign, port := free_port(address)):
            pass
        yield port


def _taken(sign: socket.socket, port: int) -> bool:
    """Whether the sign stands for that port now."""
    try:
        sign.bind((HOST, port))
    except OSError:
        return False
    return True


def free_port(address: str) -> int:
    """Any port that is free for Label Studio at this address."""
    while True:
        with socket.socket() as probe:
            probe.bind((address, 0))
            port = int(probe.getsockname()[1])
        if is_free_for_us(address, port):
            return port
