"""Say what a run was measured on and with. No host names, no paths."""

import datetime as dt
from importlib import metadata
import os
from pathlib import Path
import platform
import re
import subprocess

from tests.bench.ways import snitun

__all__ = ["facts"]

_ASK_SNITUN = "import importlib.metadata as m; print(m.version('snitun'))"
_TOOLS = {
    "haproxy": (["haproxy", "-v"], r"version (\S+)"),
    "openssh": (["ssh", "-V"], r"OpenSSH_(\S+)"),
    "nginx": (["nginx", "-v"], r"nginx/(\S+)"),
    "wrk": (["wrk", "-v"], r"wrk \S*?(\d[\w.+-]*)"),
    "h2load": (["h2load", "--version"], r"nghttp2/(\S+)"),
    "curl": (["curl", "--version"], r"curl (\S+)"),
    "openssl": (["openssl", "version"], r"OpenSSL (\S+)"),
    "snitun": ([snitun.PYTHON, "-P", "-c", _ASK_SNITUN], r"(\S+)"),
}


def _version(argv: list[str], pattern: str) -> str | None:
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(pattern, done.stdout + done.stderr)
    return match[1].rstrip(",") if match else None


def _line(path: str, pattern: str) -> str | None:
    match = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    return match[1].strip() if match else None


def facts() -> dict[str, object]:
    """Return machine and versions as JSON values. Load is the one before the run."""
    memory_kib = _line("/proc/meminfo", r"^MemTotal:\s+(\d+)")
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _line("/proc/cpuinfo", r"^model name\s*:(.*)$"),
        "memory_gib": round(int(memory_kib or 0) / 1024**2, 1),
        "system": platform.system(),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "hearthgate": metadata.version("hearthgate"),
        "load_before": round(os.getloadavg()[0], 2),
        **{name: _version(*how) for name, how in _TOOLS.items()},
    }
