"""The kinds that cert-manager and the Prometheus operator add to the API server."""

import hashlib
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import crd_files
from cluster import Cluster

PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
# Tells which file a definition was made from, so that a second start applies nothing.
DIGEST = "tenantry.test/file"
BOUND = 180  # seconds, beside a build


def install(stack):
    api, wanted = Cluster(stack), {}
    for file in crd_files.files():
        text = file.read_text()
        wanted[re.search(r"^  name: (\S+)$", text, re.M).group(1)] = text
    there = {found["metadata"]["name"]: found for found in json.loads(api.get(PATH))["items"]}
    missing = [name for name, text in wanted.items()
               if (there.get(name) or {"metadata": {}})["metadata"].get("annotations", {}).get(DIGEST) != digest(text)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: api.apply(f"{PATH}/{name}", marked(wanted[name])), missing))
    end = time.monotonic() + BOUND
    while missing:
        there = {found["metadata"]["name"]: found for found in json.loads(api.get(PATH))["items"]}
        missing = [name for name in missing if not established(there[name])]
        if missing and time.monotonic() > end:
            raise SystemExit(f"not established after {BOUND} s: {', '.join(missing)}")
        time.sleep(0.1 if missing else 0)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def marked(text):
    """The document with our annotation; every such file has annotations already, or none and a name."""
    line = f'    {DIGEST}: "{digest(text)}"\n'
    if re.search(r"^  annotations:\n", text, re.M):
        return re.sub(r"^  annotations:\n", "  annotations:\n" + line, text, count=1, flags=re.M)
    return re.sub(r"^metadata:\n", "metadata:\n  annotations:\n" + line, text, count=1, flags=re.M)


def established(found):
    conditions = found.get("status", {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
