"""How a user's token goes with a call, imported where a connection is made.

A legacy token is sent as it is. A personal access token is a JWT that only buys access tokens; each of those lasts some
minutes, so that one call in a long push finds its own run out.
"""

from __future__ import annotations

from collections.abc import Generator

import httpx

from tsad.core.errors import ReviewError

PERSONAL_PARTS = 3  # header, payload and signature of a JWT, with dots between


class TokenAuth(httpx.Auth):
    """Adds the header; a call refused with 401 is sent once more with a new access token.

    Raises:
        ReviewError: from a call: the personal token buys no access any more.
    """

    requires_response_body = True

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token, self._access = url, token, ""
        self._personal = token.count(".") == PERSONAL_PARTS - 1

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The requests that one call makes."""
        if not self._personal:
            request.headers["Authorization"] = f"Token {self._token}"
            yield request
            return
        fresh = not self._access
        if fresh:
            yield from self._buy()
        request.headers["Authorization"] = f"Bearer {self._access}"
        answer = yield request
        if answer.status_code == httpx.codes.UNAUTHORIZED and not fresh:
            yield from self._buy()
            request.headers["Authorization"] = f"Bearer {self._access}"
            yield request

    def _buy(self) -> Generator[httpx.Request, httpx.Response, None]:
        """Change the personal token for an access token."""
        answer = yield httpx.Request("POST", f"{self._url}/api/token/refresh/", json={"refresh": self._token})
        if answer.status_code in (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise ReviewError(
                f"Label Studio at {self._url} refused the token (a personal one, revoked or run out: "
                f"{answer.status_code})",
                "Make a new one under Account & Settings > Personal Access Token and put it whole (it is shown once) "
                "into the environment variable named by review.token_env.",
            )
        if answer.is_error:
            return  # the call itself then says how the server is
        self._access = str(answer.json()["access"])
