"""Where a run takes place: versions, processor, threads, the checked project's revision."""
from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import sysconfig
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .evidence import Environment

PACKAGES = ("gradcheck", "numpy", "scipy", "hypothesis", "msgspec", "torch", "jax", "autograd", "numpy-ml", "epynn")


@cache
def environment() -> Environment:
    """What a reader needs in order to compare two reports; it is looked up once a process."""
    from threadpoolctl import threadpool_info
    libraries = sorted((i for i in threadpool_info() if i["user_api"] == "blas"), key=lambda i: ("numpy" not in i["filepath"], i["filepath"]))
    blas = next((f"{i['internal_api']} {i.get('version') or ''}".strip() for i in libraries), "")          # NumPy's own; SciPy may bring another
    return Environment(python=platform.python_version(), platform=f"{platform.system()} {platform.machine()}", cpu=_cpu(), cores=os.cpu_count() or 1,
                       versions={p: v for p in PACKAGES if (v := _version(p))}, blas=blas, threads=1)


def revision() -> str:
    """What git calls the working directory's commit, "" where there is none; "+" marks changes that are not in it."""
    try:
        return subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def fingerprint() -> str:
    """A digest of the versions and of every imported source file that no package installed: what a run's answers depend on besides its arguments."""
    installed = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    files = {f for m in [*sys.modules.values()] if isinstance(f := getattr(m, "__file__", None), str) and f.endswith(".py") and not f.startswith(installed)}
    digest = hashlib.blake2b(repr(environment()).encode(), digest_size=16)
    for file in sorted(f for f in files if Path(f).is_file()):
        digest.update(file.encode() + Path(file).read_bytes())
    return digest.hexdigest()


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
