#!/usr/bin/env python3
"""The custom resource definitions of cert-manager and the Prometheus operator, out of their Go modules, pinned in
crds/go.mod, copied into the user's cache folder. A second call finds them there.
"""

import json
import os
import re
import shutil
from pathlib import Path

import build

HERE = Path(__file__).resolve().parent / "crds"
# module, the folder of its definitions
SOURCES = (("github.com/cert-manager/cert-manager", "deploy/crds"),
           ("github.com/prometheus-operator/prometheus-operator", "example/prometheus-operator-crd"))


def files():
    return sorted(build.once(build.cache() / ("crds-" + "-".join(pins().values())), copy).glob("*.yaml"))


def pins():
    text = (HERE / "go.mod").read_text()
    return {module: re.search(rf"{re.escape(module)} (v\S+)", text).group(1) for module, _ in SOURCES}


def copy(fresh):
    if not shutil.which("go"):
        raise SystemExit("go is missing: install Go 1.26 or newer and put it on PATH")
    build.say("fetching the custom resource definitions (once)")
    for module, place in SOURCES:
        env = os.environ | {"GOWORK": "off", "GOFLAGS": "-mod=readonly"}
        told = build.run(f"go mod download {module}", ["go", "mod", "download", "-json", module], cwd=HERE, env=env)
        for file in (Path(json.loads(told)["Dir"]) / place).glob("*.yaml"):
            text = file.read_text()
            if "\nkind: CustomResourceDefinition\n" in "\n" + text:
                (fresh / file.name).write_text(text)


if __name__ == "__main__":
    for file in files():
        print(file)
