#!/usr/bin/env python3
"""cargo-lambda, pinned in requirements.txt, in a virtual environment in the user's cache folder.

A second call finds it there. Its dependency ziglang is left out: only cross-compiling needs it.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import build

PINS = Path(__file__).resolve().with_name("requirements.txt")


def binary():
    version = re.search(r"^cargo-lambda==(\S+)", PINS.read_text(), re.M).group(1)
    if found := given(version):
        return found
    folder = build.cache() / f"cargo-lambda-{version}"
    made = folder / "bin" / "cargo-lambda"
    if made.exists():
        return made
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            install(folder)
    return made


def given(version):
    found = shutil.which("cargo-lambda")
    if not found:
        return None
    try:
        answer = subprocess.run([found, "lambda", "--version"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Path(found) if f" {version} " in f" {answer.stdout.strip()} " else None


def install(folder):
    build.say(f"installing {folder.name} (once)")
    fresh = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    # Debian's own Python: prepare makes sure that it can make virtual environments.
    python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
    steps = ([python, "-m", "venv", fresh],
             [fresh / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
              "-r", PINS])
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            raise SystemExit(f"installing cargo-lambda failed: {(done.stderr or done.stdout).strip()[-1500:]}")
    fresh.rename(folder)


if __name__ == "__main__":
    print("cargo-lambda", binary())
