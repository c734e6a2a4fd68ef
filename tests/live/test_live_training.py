"""A training as a job of a real service: heard, paused, kept, killed with the service in between, stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest
from live_kit import Event, events

from benchmarks.jobs import Site, site

pytestmark = pytest.mark.live
TINY = ("steps=100000", "save_every=10", "batch_size=2", "workers=0", "device=cpu", "network.layers=1",
        "network.hidden_size=16", "network.heads=2", "network.intermediate_size=32", "network.length=256")  # fmt: skip
SECONDS = 240.0


def heard(made: Site, job: str, got: list[Event]) -> Iterator[Event]:
    """Events to the job's end; whoever is cut off comes back with the last id."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        token = (made.home / "service" / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": got[-1].id} if got else {})
        try:
            with httpx.stream("GET", f"{made.url}/api/v1/stream/metrics", params={"job": job}, headers=headers,
                              timeout=60, trust_env=False) as answer:  # fmt: skip
                for event in events(answer.iter_lines()):
                    if event.id:
                        got.append(event)
                    yield event
                    if event.name == "end":
                        return
        except httpx.HTTPError:
            time.sleep(0.2)
    pytest.fail("the job did not end")


def ask(made: Site, job: str, action: str) -> None:
    answer = made.call("POST", "/training/control", json={"job": job, "action": action})
    assert answer.status_code == 200, answer.text


def test_a_training_is_heard_paused_and_stopped_and_a_killed_service_loses_nothing() -> None:
    with site("service.spare=false") as made:
        weights = made.home / "service" / "exports" / "weights"
        made_job = made.call("POST", "/jobs", json={"verb": "pretrain", "overrides": [f"output={weights}", *TINY]})
        assert made_job.status_code == 201, made_job.text
        job, got, states, steps, resumed_at = str(made_job.json()["id"]), list[Event](), list[str](), 0, 0.0
        for event in heard(made, job, got):
            values = event.data.get("values", {})
            states += [values["state"]] if event.name == "state" else []
            if "step_loss" in values:
                steps += 1
                if steps == 3:
                    ask(made, job, "pause")
                elif steps == 8:
                    made.kill()
                    made.start()
                elif steps == 14:
                    ask(made, job, "stop")
                    resumed_at = time.monotonic()
            if event.name == "state" and values["state"] == "paused":
                ask(made, job, "resume")
        assert time.monotonic() - resumed_at < 25, "at its next step, not by a signal"
        assert event.data == {"job": job, "state": "stopped"}
        assert states[0] == "running" and states[-1] == "stopped" and "paused" in states
        assert [e.number for e in got] == list(range(1, len(got) + 1)), "nothing lost, nothing doubled"
        assert (weights / "checkpoint.safetensors").is_file() or list(weights.glob("*checkpoint*"))
        figures = made.call("GET", "/metrics/current", params={"job": job}).json()["figures"]
        assert {"step_loss", "learning_rate", "grad_norm", "system/process_memory_megabytes"} <= set(figures)
        text = (made.home / "service" / "logs" / "service.jsonl").read_text()
        assert f'"job": "{job}"' in text and (made.home / "service" / "token").read_text().strip() not in text
