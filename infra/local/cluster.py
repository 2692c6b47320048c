"""Calls to the stack's own API server."""

import json
import time

from part import ask

MANAGER = "tenantry-local"
BOUND = 120  # seconds for an answer: beside a build everything is slow


class Cluster:
    def __init__(self, stack):
        self.url = f"https://127.0.0.1:{stack.ports['KUBE_APISERVER_PORT']}"
        self.ca = stack.local / "kube-apiserver" / "pki" / "ca.crt"
        self.token = stack.secret("token admin")

    def call(self, method, path, body=None, kind=None):
        """Nothing that is sent here does more when it is sent twice, so that what is not answered is sent again."""
        headers = {"Content-Type": kind} if kind else None
        end = time.monotonic() + BOUND
        while True:
            status, text = ask(self.url + path, token=self.token, ca=self.ca, method=method, body=body, headers=headers,
                               timeout=20)
            if status or time.monotonic() > end:
                return status, text
            time.sleep(0.2)

    def get(self, path):
        status, text = self.call("GET", path)
        if status != 200:
            raise SystemExit(f"GET {path} answers {status} {text.strip()[:300]}")
        return text

    def apply(self, path, body):
        """Server-side apply; a second call changes nothing. The body may be the text of a YAML document."""
        kind = "application/apply-patch+yaml"
        status, text = self.call("PATCH", f"{path}?fieldManager={MANAGER}&force=true", body, kind)
        if status not in (200, 201):
            raise SystemExit(f"applying {path} answers {status} {text.strip()[:300]}")
        return json.loads(text)
