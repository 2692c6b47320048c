#!/usr/bin/env python3
"""Prints where cargo-lambda is; installs it first where it is missing."""

import wheels


def binary():
    return wheels.binary("cargo-lambda", "cargo-lambda", ["lambda", "--version"])


if __name__ == "__main__":
    print("cargo-lambda", binary())
