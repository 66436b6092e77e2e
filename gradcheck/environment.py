"""Where a run takes place: versions, processor, threads, the checked project's revision."""
from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .evidence import Environment

PACKAGES = ("gradcheck", "numpy", "scipy", "hypothesis", "msgspec", "torch", "jax", "autograd", "numpy-ml", "epynn")


def environment() -> Environment:
    """What a reader needs in order to compare two reports."""
    from threadpoolctl import threadpool_info
    blas = next((f"{i['internal_api']} {i.get('version') or ''}".strip() for i in threadpool_info() if i["user_api"] == "blas"), "")
    return Environment(python=platform.python_version(), platform=f"{platform.system()} {platform.machine()}", cpu=_cpu(), cores=os.cpu_count() or 1,
                       versions={p: v for p in PACKAGES if (v := _version(p))}, blas=blas, threads=1)


def revision() -> str:
    """What git calls the working directory's commit, "" where there is none; "+" marks changes that are not in it."""
    try:
        return subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _cpu() -> str:
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    return platform.processor()
