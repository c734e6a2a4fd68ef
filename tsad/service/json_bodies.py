"""Bodies of requests as models: read within a limit, nothing converted, nothing that a model does not know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError

from tsad.service.bodies import json_of
from tsad.service.errors import RequestRefused

TOLD, LONGEST = 5, 100  # faults that are told, and characters of a key
MOST = 1_000_000  # bytes: bodies that ask for something are short


class Asked(BaseModel):
    """Base of what a body asks for."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True, hide_input_in_errors=True)


A = TypeVar("A", bound=Asked)


def asked(model: type[A], most: int = MOST) -> Callable[[Request], Awaitable[A]]:
    """What an endpoint depends on to get its body.

    Raises:
        RequestRefused: (of what is returned) 413, 408, 400 as :func:`json_of`; 422: it does not fit, by key.
    """

    async def read(request: Request) -> A:
        return fitting(model, await json_of(request, most))

    return read


def fitting(model: type[A], values: Mapping[str, Any]) -> A:
    """The values as the model.

    Raises:
        RequestRefused: 422: they do not fit; names each key and why, never what was sent.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)[:TOLD]
        said = "; ".join(f"{'.'.join(map(str, one['loc']))[:LONGEST] or 'the body'}: {one['msg']}" for one in faults)
        known = ", ".join(model.model_fields)
        raise RequestRefused(422, f"the body does not fit: {said}", f"Its keys: {known}; see /openapi.json.") from None


def described(model: type[Asked]) -> dict[str, Any]:
    """The body in ``/openapi.json``, to be given as ``openapi_extra``."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
