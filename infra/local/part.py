"""What every part of the stack has in common. Each part is one short file under parts/, with the same members."""

import base64
import hashlib
import http.client
import json
import os
import shlex
import ssl
import urllib.error
import urllib.request

from supervisor import MARK


class Part:
    """One process under supervisord.

    `command`, `environment` and `config` say how it runs; `ready` says whether it serves; `prepare` (before the start)
    and `finish` (once it is ready) may run any number of times.
    """

    name = ""
    ports = ()  # names in ports.env
    elsewhere = ()  # (address, name of the port) pairs for what listens on another address than 127.0.0.1
    after = ()  # parts that must be ready first
    given = None  # the environment variable that names one to use instead
    bound = 60  # seconds until it must be ready
    stop_signal = "TERM"
    stop_group = True
    stop_wait = 20
    profiles = ("test", "full")
    tools = ()  # of infra/tools/build.py
    fetches = ()  # what else is brought into the cache: see builds.FETCHED

    def __init__(self, stack):
        self.stack = stack
        self.home = stack.local / self.name
        self.script = stack.local / "start" / self.name
        self.log = stack.local / "logs" / f"{self.name}.log"
        self.files = {}

    def needs(self):
        """What is missing on this machine: (path or None, what to install) pairs."""
        return []

    def programs(self):
        """What cargo builds of it, as paths."""
        return []

    def wanted(self):
        return not (self.given and self.stack.given(self.given))

    def port(self, name):
        return self.stack.ports[name]

    def beforehand(self):
        """Writes what others read of it, before any part starts."""

    def prepare(self):
        pass

    def before_start(self):
        """What is to be done once those it comes after are ready, and before it starts."""

    def command(self):
        raise NotImplementedError(self.name)

    def environment(self):
        return {}

    def ready(self):
        """None when it serves, else what is still missing."""
        raise NotImplementedError(self.name)

    def finish(self):
        pass

    def settle(self):
        """What is to be done once every part is ready."""

    def exports(self):
        """What the env file says of this part, whether started or given."""
        return {}

    def file(self, name, text, mode=0o600):
        """A configuration file below the part's folder; a changed text restarts the part."""
        path = self.home / name
        self.files[name] = text
        self.stack.write(path, text, mode)
        return path

    def shell(self):
        """The last line of the start script."""
        return "exec " + shlex.join(str(word) for word in self.command())

    def write_script(self):
        """The environment lives in a script only we can read: no secret shows in a process's arguments."""
        lines = ["#!/bin/sh", "# Written by infra/local/stack.py at each start.", "set -eu"]
        always = {MARK: self.stack.local, "TMPDIR": self.stack.tmp}
        for key, value in sorted((always | self.environment()).items()):
            lines.append(f"export {key}={shlex.quote(str(value))}")
        text = "\n".join([*lines, self.shell()]) + "\n"
        self.files["start"] = text
        self.stack.write(self.script, text, 0o700)

    def fingerprint(self):
        return hashlib.sha256(json.dumps(self.files, sort_keys=True).encode()).hexdigest()[:16]


def ask(url, user=None, token=None, ca=None, method="GET", body=None, headers=None, timeout=3):
    """Status and body of one request; status 0 with the reason when nobody answers. Proxies are never asked."""
    request = urllib.request.Request(url, method=method, headers=dict(headers or {}))
    if body is not None:
        request.data = (body if isinstance(body, str) else json.dumps(body)).encode()
        if not request.has_header("Content-type"):
            request.add_header("Content-Type", "application/json")
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(":".join(user).encode()).decode())
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    context = None
    if url.startswith("https:"):
        context = ssl.create_default_context(cafile=ca) if ca else ssl._create_unverified_context()
    handlers = [urllib.request.ProxyHandler({})] + ([urllib.request.HTTPSHandler(context=context)] if context else [])
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
    except (OSError, ValueError, http.client.HTTPException) as problem:
        return 0, str(problem)


def serves(url, **how):
    status, text = ask(url, **how)
    return None if status == 200 else f"{url} answers {status} {text.strip()[:200]}"


def executable(path):
    return path is not None and os.access(path, os.X_OK)
