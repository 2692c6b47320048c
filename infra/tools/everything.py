#!/usr/bin/env python3
"""Brings all that the local stack and the tests take from elsewhere into the cache: built Go tools, jars, npm packages, wheels.

A second call finds everything and does nothing. What is fetched waits for the network, what is built for the processor, so
that the two go on side by side.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import azure_sdk
import build
import cargo_lambda
import kafka_jars
import maildev_files

FETCHED = (cargo_lambda.binary, kafka_jars.jars, maildev_files.program, azure_sdk.python)


def main():
    with ThreadPoolExecutor() as beside:
        fetching = [beside.submit(fetch) for fetch in FETCHED]
        build.binaries()
        for fetched in fetching:
            fetched.result()  # raises what went wrong


if __name__ == "__main__":
    sys.exit(main())
