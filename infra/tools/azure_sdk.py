#!/usr/bin/env python3
"""The official Azure SDK for DNS, pinned in azure-mgmt-dns.txt, in a virtual environment in the user's cache folder.

Tests compare our client's requests with its. Prints the environment's Python; a second call finds it there.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import build

PINS = Path(__file__).resolve().with_name("azure-mgmt-dns.txt")


def python():
    folder = build.cache() / f"azure-mgmt-dns-{hashlib.sha256(PINS.read_bytes()).hexdigest()[:16]}"
    made = folder / "bin" / "python"
    if made.exists():
        return made
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            install(folder)
    return made


def install(folder):
    fresh = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    # Debian's own Python: prepare makes sure that it can make virtual environments.
    system = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
    steps = ([system, "-m", "venv", fresh],
             [fresh / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
              "-r", PINS])
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            raise SystemExit(f"installing {folder.name} failed: {(done.stderr or done.stdout).strip()[-1500:]}")
    fresh.rename(folder)


if __name__ == "__main__":
    print(python())
