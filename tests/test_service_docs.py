"""docs/service.md says what the code says; ``python tests/test_service_docs.py`` writes its table of errors anew."""

from __future__ import annotations

import re
from pathlib import Path

from tsad.service.errors import table

DOCS = Path(__file__).parents[1] / "docs" / "service.md"
BEGIN, END = "<!-- errors: begin -->\n", "<!-- errors: end -->"


def written() -> str:
    """The table of errors in Markdown."""
    rows = [f"| `{code}` | {status} | {meaning} |" for code, status, meaning in table()]
    return "\n".join(["| code | status | when |", "|---|---|---|", *rows]) + "\n"


def test_the_table_of_errors_is_that_of_the_code() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)] == written(), "python tests/test_service_docs.py"


def test_every_error_has_a_status_of_its_own_kind() -> None:
    rows = table()
    assert len(rows) == len({code for code, _, _ in rows}) > 30
    assert {status for _, status, _ in rows} >= {404, 409, 413, 422, 429, 503}
    assert all(meaning for _, _, meaning in rows)


def test_every_block_of_commands_is_run_by_the_live_test() -> None:
    names = re.findall(r"<!-- ([a-z-]+) -->\n```sh", DOCS.read_text(encoding="utf-8"))
    run = (Path(__file__).parent / "live" / "test_site_day.py").read_text(encoding="utf-8")
    assert len(names) > 8 and [name for name in names if f'day.type("{name}"' not in run] == []


if __name__ == "__main__":
    page = DOCS.read_text(encoding="utf-8")
    DOCS.write_text(page[: page.index(BEGIN) + len(BEGIN)] + written() + page[page.index(END) :], encoding="utf-8")
