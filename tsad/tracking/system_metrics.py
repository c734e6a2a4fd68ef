"""CPU, memory and GPU of the working process as metrics of its run, sampled while a step works."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

MEGABYTE = 1024**2


@contextmanager
def sampled(record: Callable[[Mapping[str, float], int], None], seconds: float = 5.0) -> Iterator[None]:
    """Record ``system/...`` metrics of this process every ``seconds`` s; the first and last sample are always there.

    Our own thread instead of mlflow's: that one reads the run back at each sample, logs nothing of work shorter
    than its interval and only warns when the store is gone.
    """
    stop = threading.Event()
    sample = _Sampler()

    def run() -> None:
        step = 0
        while not stop.wait(seconds if step else 0.0):
            record(sample(), step)
            step += 1
        record(sample(), step)

    thread = threading.Thread(target=run, name="tsad-system-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class _Sampler:
    def __init__(self) -> None:
        import psutil

        self._machine, self._process = psutil, psutil.Process()
        self._process.cpu_percent()  # the first reading starts the interval
        self._gpus = _gpus()

    def __call__(self) -> dict[str, float]:
        """Names as the MLflow UI groups them; memory in megabytes, load in percent (the process: of one core)."""
        memory = self._machine.virtual_memory()
        values = {
            "system/process_cpu_percentage": self._process.cpu_percent(),
            "system/process_memory_megabytes": self._process.memory_info().rss / MEGABYTE,
            "system/cpu_utilization_percentage": self._machine.cpu_percent(),
            "system/system_memory_usage_megabytes": memory.used / MEGABYTE,
        }
        for k, gpu in enumerate(self._gpus):
            import pynvml

            usage = pynvml.nvmlDeviceGetMemoryInfo(gpu)
            values[f"system/gpu_{k}_memory_usage_megabytes"] = usage.used / MEGABYTE
            values[f"system/gpu_{k}_utilization_percentage"] = pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu
        return values


def _gpus() -> list[object]:
    """NVML handles; none where there is no NVIDIA GPU or driver, which is a machine's nature and no failure."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(k) for k in range(pynvml.nvmlDeviceGetCount())]
    except ImportError:
        return []
    except pynvml.NVMLError:
        return []
