#!/usr/bin/env python3
"""cargo-deny, pinned here, built once into the user's cache folder.

    cargo_deny.py           builds it where it is missing and prints where it is
    cargo_deny.py check     checks bans, licences and sources, and advisories where their database can be fetched

Built unoptimised, because building it is what takes long, not running it.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import build

VERSION = "0.20.2"


def binary():
    if found := given():
        return found
    folder = build.cache() / f"cargo-deny-{VERSION}"
    made = folder / "bin" / "cargo-deny"
    if made.exists():
        return made
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            install(folder)
    return made


def given():
    found = shutil.which("cargo-deny")
    if not found:
        return None
    answer = subprocess.run([found, "--version"], capture_output=True, text=True)
    has = re.search(r"(\d+)\.(\d+)", answer.stdout)
    return Path(found) if has and has.group(0) == VERSION.rpartition(".")[0] else None


def install(folder):
    build.say(f"building {folder.name} (once, about 4 min)")
    fresh = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    env = os.environ | {"CARGO_TARGET_DIR": str(fresh / "target"), "CARGO_PROFILE_DEV_DEBUG": "false"}
    done = subprocess.run(["nice", "-n", "10", "cargo", "install", "cargo-deny", "--version", VERSION, "--locked", "--debug",
                           "--quiet", "--root", fresh], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(fresh, ignore_errors=True)
        raise SystemExit(f"building cargo-deny failed: {done.stderr.strip()[-2000:]}")
    shutil.rmtree(fresh / "target", ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def check():
    """The advisory database is a git repository elsewhere; without it the other checks still count."""
    deny = binary()
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([deny, "--log-level", "error", "check", "bans", "licenses", "sources"], cwd=root)
    if done.returncode:
        return done.returncode
    fetched = subprocess.run(["timeout", "120", deny, "--log-level", "error", "fetch", "db"], cwd=root,
                             capture_output=True, stdin=subprocess.DEVNULL)
    if fetched.returncode:
        build.say("advisories: NOT checked, the advisory database cannot be fetched from here")
        return 0
    return subprocess.run([deny, "--log-level", "error", "check", "--disable-fetch", "advisories"], cwd=root).returncode


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        sys.exit(check())
    print(binary())
