#!/usr/bin/env python3
"""Builds what is missing, starts the local stack and provisions globex, acme and initech, each step as soon as what it needs
is there: the parts from Debian while the tools and our programs are built, globex with our programs, acme with the cluster,
initech with OpenTofu.

Exit status as of provision.py. A failure of a build or of a part ends it; what runs of the stack goes on running. A second
call builds what has changed and starts what has died.
"""

import os
import signal
import sys
import time

sys.dont_write_bytecode = True

import provision  # noqa: E402
import stack as local  # noqa: E402
from builds import Builds, words  # noqa: E402
from settings import read_env  # noqa: E402
from starting import Beside, Start  # noqa: E402
from tenants import EVERYTHING, SERVICE, TOFU, Tenants  # noqa: E402


def run(stack):
    began = time.monotonic()
    stack.must_be_ours()
    stack.make_folders()
    chosen = stack.chosen()
    with local.locked(stack):
        supervisor = local.begin(stack, chosen, built=False)
        local.link(stack, local.from_debian())
        tools = local.wanted_tools(stack, chosen)
        builds = Builds(stack, tools, {name for part in chosen for name in part.fetches}, local.say)
        start = Start(stack, supervisor, chosen, local.say)
        tenants = Tenants(stack.values)
        settling = None
        try:
            while not (builds.done() and start.done() and tenants.done()):
                builds.step()
                local.link(stack, builds.links)
                start.patience = 1 if builds.done() else 4
                start.step(builds.there)
                if settling is None and start.done() and builds.built >= tools - {TOFU}:
                    settling = Beside(lambda: settle(stack, supervisor, chosen, began))
                there = {TOFU} & builds.built | {SERVICE} & start.ready
                if settling and settling.ended():
                    there.add(EVERYTHING)
                if SERVICE in there:
                    stack.write_env(stack.values)  # another terminal may look on
                for slug in tenants.step(there):
                    local.say(f"  ({slug}: {words(time.monotonic() - began)} after the start)")
                time.sleep(0.05)
        finally:
            builds.end()


def settle(stack, supervisor, chosen, began):
    local.finish(stack, supervisor, chosen)
    local.say(f"ready in {words(time.monotonic() - began)}: {stack.env_file}")


def main():
    os.umask(0o077)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    stack = local.Stack("full")
    run(stack)
    return provision.show(stack, read_env(stack.env_file))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
