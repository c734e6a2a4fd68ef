"""What the command line hands to the verbs that serve; FastAPI and uvicorn are imported when one does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tsad.core.errors import ConfigError, MissingPackageError
from tsad.core.serving import Address, Bounds, Predicting, Standing, Verbs
from tsad.files.locate import install_extra


class Face:
    """See :class:`~tsad.core.serving.Serving`.

    Args:
        verbs: what jobs and requests of the whole service start; ``None`` = it cannot be served.
    """

    def __init__(self, verbs: Verbs | None = None) -> None:
        self._verbs = verbs

    @contextmanager
    def hooks(self, at: Address, secret: str, hint: Callable[[], None]) -> Iterator[str]:
        """Listens for webhooks; raises ConfigError where nothing can listen there, MissingPackageError."""
        require_packages()
        from tsad.service.app import make_app
        from tsad.service.hooks import hooks
        from tsad.service.running import running

        with running(make_app(hooks(secret, hint)), at) as url:
            yield url

    @contextmanager
    def backend(
        self, at: Address, token: str, model: Predicting, hint: Callable[[], None], bounds: Bounds
    ) -> Iterator[str]:
        """Label Studio's ML backend; raises as :meth:`hooks`."""
        require_packages()
        from tsad.service.app import make_app
        from tsad.service.backend import backend
        from tsad.service.gate import Gate
        from tsad.service.running import running

        gate = Gate(bounds)
        try:
            with running(make_app(backend(token, model, hint, gate, bounds.body)), at, bounds.seconds) as url:
                yield url
        finally:
            gate.close()

    @contextmanager
    def whole(self, standing: Standing, bench: Any) -> Iterator[str]:
        """The whole service; raises as :meth:`hooks`, and ConfigError where nobody has said which verbs there are."""
        require_packages()
        from tsad.service.whole import whole_service

        if self._verbs is None:
            raise ConfigError("nothing says which verbs there are", "Start the service with the tsad command.")
        with whole_service(standing, bench, self._verbs) as url:
            yield url


def require_packages() -> None:
    """Refuse where what serves is not installed.

    Raises:
        MissingPackageError: it is not.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        found = f"what answers HTTP is not installed ({error})"
        raise MissingPackageError(found, f"Run: {install_extra('service')}") from error
