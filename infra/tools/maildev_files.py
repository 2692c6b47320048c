#!/usr/bin/env python3
"""maildev (an SMTP server whose mailbox has a web page and an HTTP API), pinned in maildev/package-lock.json, in the user's
cache folder. A second call finds it there. Needs npm the first time only.
"""

import hashlib
import json
import shutil
from pathlib import Path

import build

PINS = Path(__file__).resolve().parent / "maildev"


def folder():
    version = json.loads((PINS / "package.json").read_text())["dependencies"]["maildev"]
    lock = hashlib.sha256((PINS / "package-lock.json").read_bytes()).hexdigest()[:8]
    return build.cache() / f"maildev-{version}-{lock}"


def cached():
    return folder().is_dir()


def program():
    """The script to start with node."""
    return build.once(folder(), fetch) / "node_modules" / "maildev" / "bin" / "maildev"


def fetch(fresh):
    npm = shutil.which("npm")
    if not npm:
        raise SystemExit("missing: npm")
    build.say(f"fetching {folder().name} (once)")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PINS / name, fresh / name)
    # Nothing of it needs to be compiled, so nothing of it may run at installation.
    build.run("fetching maildev", ["nice", "-n", "10", npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund",
                                   "--loglevel=error"], cwd=fresh)


if __name__ == "__main__":
    print(program())
