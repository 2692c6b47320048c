#!/usr/bin/env python3
"""The jars of Kafka's broker and command-line tools, pinned in kafka/pom.xml, in the user's cache folder.

A second call finds them there. Needs Maven the first time only.
"""

import os
import re
import shutil
from pathlib import Path

import build

PINS = Path(__file__).resolve().parent / "kafka" / "pom.xml"
# Maven's own plugins are not pinned by the pom.
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def version():
    return re.search(r"<kafka\.version>(\S+)</kafka\.version>", PINS.read_text()).group(1)


def folder():
    return build.cache() / f"kafka-{version()}"


def cached():
    return folder().is_dir()


def jars():
    """The folder that holds them."""
    return build.once(folder(), fetch)


def fetch(fresh):
    maven = shutil.which("mvn")
    if not maven:
        raise SystemExit("missing: maven")
    build.say(f"fetching kafka {version()} (once, 50 MB)")
    # A virtual machine leaves a folder for its counters in the machine's temporary one otherwise.
    env = os.environ | {"MAVEN_OPTS": f"{os.environ.get('MAVEN_OPTS', '')} -XX:-UsePerfData".strip()}
    build.run("fetching kafka", ["nice", "-n", "10", maven, "--batch-mode", "--quiet", "-f", PINS, PLUGIN,
                                 "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"], env=env)
    if not any(fresh.glob("kafka_*.jar")):
        raise SystemExit("fetching kafka failed: Maven copied no jar of it")


if __name__ == "__main__":
    print(jars())
