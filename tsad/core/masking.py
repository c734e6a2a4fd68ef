"""Logins in URLs, masked: whatever people are shown and whatever is recorded goes through here."""

from __future__ import annotations

import re

MASK = "***"
_URL = re.compile(r"(?P<scheme>\b[A-Za-z][\w+.-]*)://(?P<rest>[^\s'\"<>]+)")
# host:port with a login before it and no scheme, as nodes of a database are named
_NODE = re.compile(r"(?<![\w/.:@-])(?P<user>[\w.-]+):(?P<password>[^\s@,'\"\[\]/]+)@(?=[\w.-]+:\d)")
_QUERY = re.compile(
    r"(?P<key>[?&;][\w.-]*(?:password|passwd|pwd|passphrase|token|secret|credentials?|api_?key|access_?key|private_?key"
    r"|signature|auth)=)(?P<value>[^&\s;#'\"]+)",
    re.I,
)
_PORT = re.compile(r"\d{1,5}/.*")
_TOKEN, _LONG_TOKEN = 8, 20  # a name alone is taken for a token from so many signs on: over HTTP, for anything else


def mask_urls(text: str) -> str:
    """The text with passwords and tokens in its URLs masked, unless they are read from the environment (``${``)."""
    if "@" not in text and "=" not in text:
        return text
    masked = _URL.sub(lambda m: f"{m['scheme']}://{_rest(m['scheme'], m['rest'])}", text)
    masked = _NODE.sub(lambda m: m[0] if "${" in m["password"] else f"{m['user']}:{MASK}@", masked)
    return _QUERY.sub(lambda m: m[0] if "${" in m["value"] else m["key"] + MASK, masked)


def _rest(scheme: str, rest: str) -> str:
    """What stands behind ``://``. Passwords may hold ``@`` and ``/``, so the last ``@`` ends the login."""
    login, at, host = rest.rpartition("@")
    if not at or "${" in login:
        return rest
    web = scheme.lower() in ("http", "https")
    user, colon, password = login.partition(":")
    if "/" in user:
        return rest
    if colon:
        return rest if web and _PORT.fullmatch(password) else f"{user}:{MASK}@{host}"
    return f"{MASK}@{host}" if len(user) >= (_TOKEN if web else _LONG_TOKEN) else rest
