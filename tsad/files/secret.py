"""A secret of the program's own, kept for its user's eyes alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from tsad.core.errors import ConfigError, StorageError

BYTES = 32


def kept_secret(path: Path) -> str:
    """The secret in a file that only its owner reads; made at the first use, by one process of those that ask at once.

    Raises:
        StorageError: it cannot be read or written, or others may read it.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(BYTES))
        try:
            os.link(scratch, path)  # fails where somebody was faster, whose secret it is then
        except FileExistsError:
            pass
        finally:
            scratch.unlink()
        if path.stat().st_mode & 0o077:
            raise StorageError(f"{path} can be read by others", f"Run chmod 600 {path}, or delete it.")
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} cannot be read or written: {error}", "Look at its rights, or delete it.") from error
    if not text:
        raise StorageError(f"{path} is empty", "Delete it: the next start makes another.")
    return text


def secret_in(variable: str, key: str, otherwise: str) -> str:
    """The secret in an environment variable.

    Args:
        key: that names the variable. otherwise: what leaving it out leads to, for the message.

    Raises:
        ConfigError: it is not set.
    """
    value = os.environ.get(variable, "")
    if not value:
        raise ConfigError(
            f"{key} names {variable}, which is not set",
            f"export {variable}=$(openssl rand -hex 32), or leave {key} out{otherwise}.",
        )
    return value
