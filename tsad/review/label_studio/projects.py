"""A project made once, whatever happens to the call that makes it."""

from __future__ import annotations

from typing import Any

from tsad.review.label_studio.client import Client, LostCallError


def create(client: Client, title: str, **fields: Any) -> int:
    """A new project of a title that none had a moment ago; its id.

    Where SQLite is locked, Label Studio carries a call out once more by itself, though half of it is done already (seen
    with 1.23.2): then, and where two pushes begin at once, there are several. The oldest stays; the others are empty.

    Raises:
        ReviewError: see :class:`~tsad.review.label_studio.client.Client`.
    """
    lost = None
    try:
        client.create_project(title=title, **fields)
    except LostCallError as error:
        lost = error
    made = sorted(client.find_projects(title), key=lambda project: int(project["id"]))
    if lost is not None and not made:
        raise lost
    for other in made[1:]:
        if not other["task_number"]:
            client.delete_project(other["id"])
    return int(made[0]["id"])
