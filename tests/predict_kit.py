"""A store with a small champion, and a service of predictions over it, on a real socket with a real model process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest
from fastapi import APIRouter, Depends

from tsad.config import compose, settings, workbench
from tsad.config.workbench import Workbench
from tsad.core.serving import Address, Bounds, Standing, Verbs
from tsad.loop.champion import registry_of
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.service.access import token_needed
from tsad.service.app import make_app
from tsad.service.prediction import label_studio_backends, of_predictions
from tsad.service.predictor import Predictor, predicting
from tsad.service.running import running
from tsad.service.site import Site

TOKEN, LOOP = "correct-horse", "plant"
MODEL = f"tsad-{LOOP}-robust_zscore"
WORDS = (
    "experiment=demo", "detector=robust_zscore", "source.series=3", "source.points=400", "windows.length=100",
    "sampling.windows=4", "loop.iterations=1", "loop.fresh=false", "tracking.plots=0", "gold.resamples=100",
    "threshold.default=0.3", "tracking.system_metrics=false", "review=simulated", f"loop.name={LOOP}",
)  # fmt: skip
BOUNDS = Bounds(running=2, waiting=6, seconds=60.0, body=2_000_000)


def bench_of(*words: str) -> Workbench:
    return workbench(settings(compose(words), words))


def stocked_home(home: Path, empty_store: Path) -> None:
    """A store whose loop has a champion and no other version; ``$TSAD_HOME`` points at it already."""
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    assert iterate(bench_of(*WORDS)).ended


def new_champion(bench: Workbench) -> str:
    """Another version of the same files, promoted; returns its name."""
    loop = open_loop(bench)
    registry = registry_of(bench, loop)
    first = registry.get(1)
    made = loop.store.client.create_model_version(
        registry.name, first.source, first.run_id, tags=dict(first.tags), model_id=first.model_id
    )
    registry.promote(registry.get(int(made.version)))
    return f"{registry.name}:{made.version}"


@dataclass(frozen=True)
class Served:
    """A service of predictions that runs."""

    url: str
    site: Site
    predictor: Predictor

    def client(self, token: str = TOKEN, timeout: float = 120.0) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=timeout)

    def post(self, path: str, **given: Any) -> httpx.Response:
        with self.client() as http:
            return http.post(f"/api/v1{path}", **given)

    def get(self, path: str, **given: Any) -> httpx.Response:
        with self.client() as http:
            return http.get(f"/api/v1{path}", **given)


@contextmanager
def serving(bench: Workbench, bounds: Bounds = BOUNDS, words: tuple[str, ...] = ()) -> Iterator[Served]:
    """The parts of the service that predict."""
    standing = Standing(Address("127.0.0.1", 0), TOKEN, bounds, (f"loop.name={LOOP}", *words))
    site = Site(bench, cast(Verbs, None), standing)
    with predicting(site) as predictor:
        api = APIRouter(prefix="/api/v1", dependencies=[Depends(token_needed(TOKEN))])
        for router in of_predictions(site, predictor):
            api.include_router(router)
        with running(make_app(api, label_studio_backends(site, predictor)), standing.at) as url:
            yield Served(url, site, predictor)


def wave(points: int = 512, odd: int = 300) -> list[float | None]:
    """A calm series with one stretch that is not."""
    values = np.sin(np.arange(points) / 9) + 0.05 * np.random.default_rng(0).standard_normal(points)
    values[odd : odd + 10] += 5
    return [float(v) for v in values]


def asked(points: int = 512, **more: Any) -> dict[str, Any]:
    """A request for a prediction: a value a minute."""
    stamps = [1_767_225_600 + 60 * k for k in range(points)]
    return {"point_id": "U1.TI1001.PV", "timestamps": stamps, "values": wave(points), **more}


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The one body of every error."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"code", "message", "remedy", "request_id"} and body["message"]
    return dict(body)


@pytest.fixture(scope="session")
def plant_home(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """A store with the loop ``plant``, for tests that change nothing in it."""
    home = tmp_path_factory.mktemp("plant") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSAD_HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home.parent / "config"))
        stocked_home(home, empty_store)
        yield home


@pytest.fixture
def plant(plant_home: Path, home: Path) -> Workbench:
    """A store of this test's own with the loop ``plant``."""
    shutil.copytree(plant_home, home)
    return bench_of(*WORDS)


@pytest.fixture(scope="module")
def served(plant_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One service for the tests of a file."""
    home = tmp_path_factory.mktemp("served") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSAD_HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home.parent / "config"))
        shutil.copytree(plant_home, home)
        with serving(bench_of(*WORDS)) as made:
            yield made
