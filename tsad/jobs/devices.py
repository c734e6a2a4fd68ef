"""The GPUs of this machine, and the queues: one for each of them, one for jobs that need none."""

from __future__ import annotations

import os
import shutil
import subprocess

CPU = "cpu"
SECONDS = 10.0  # nvidia-smi answers in less
VARIABLE = "CUDA_VISIBLE_DEVICES"


def gpus() -> list[str]:
    """What CUDA calls the GPUs that this process may use; nvidia-smi counts them: the service must not load torch."""
    if VARIABLE in os.environ:
        return [name.strip() for name in os.environ[VARIABLE].split(",") if name.strip() not in ("", "-1")]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    count = sum(line.startswith("GPU ") for line in listed.stdout.splitlines()) if listed.returncode == 0 else 0
    return [str(number) for number in range(count)]


def gpu_queue(number: int) -> str:
    """The queue of a GPU, by its place among those of the machine."""
    return f"gpu{number}"
