"""Where a stack lives and what it is made of: folders, ports, generated secrets, and what the environment gives."""

import json
import os
import secrets
import shlex
import string
import threading
from pathlib import Path

import ports

ROOT = Path(__file__).resolve().parents[2]
# A file that says that a stack made this folder. Nothing is written to, stopped in or removed from any other.
MARKER = ".tenantry-stack"
REGIONS = ("eastus", "za-north", "eu-west-1")


class Stack:
    def __init__(self, profile="full", environ=os.environ):
        self.environ = environ
        self.profile = profile
        self.root = ROOT
        self.local = Path(os.path.abspath(ROOT / (environ.get("TENANTRY_LOCAL") or ".local")))
        self.bin = self.local / "bin"
        self.tmp = self.local / "tmp"  # every process's temporary folder, for as long as the stack runs
        self.env_file = self.local / "env"
        self.ports = ports.read(environ)
        self.target = Path(os.path.abspath(ROOT / (environ.get("CARGO_TARGET_DIR") or "target")))
        self._secrets = None
        self._lock = threading.Lock()
        self._sourced = None

    def must_be_ours(self):
        """Ends unless the folder is a stack's, empty, or not there: TENANTRY_LOCAL may name anything."""
        if self.local.is_symlink() or (self.local.exists() and not self.local.is_dir()):
            raise SystemExit(f"TENANTRY_LOCAL={self.local} is not a folder")
        if not self.local.is_dir() or (self.local / MARKER).is_file() or not any(self.local.iterdir()):
            return
        raise SystemExit(f"{self.local} was not made by a stack and is not empty: set TENANTRY_LOCAL to another folder")

    def make_folders(self):
        self.local.mkdir(parents=True, exist_ok=True)
        (self.local / MARKER).touch()
        for folder in (self.local, self.bin, self.local / "logs", self.local / "start", self.local / "parts",
                       self.local / "programs", self.tmp):
            folder.mkdir(parents=True, exist_ok=True)
        self.local.chmod(0o700)

    def secret(self, name):
        """Generated at the first start, kept in a file only we can read."""
        file = self.local / "secrets.json"
        with self._lock:
            if self._secrets is None:
                self._secrets = json.loads(file.read_text()) if file.exists() else {}
            if name not in self._secrets:
                self._secrets[name] = secrets.token_hex(24)
                self.write(file, json.dumps(self._secrets, indent=1), 0o600)
        return self._secrets[name]

    def given(self, name):
        """A part's address from the environment, unless it is only what a sourced env file of a stack says."""
        value = self.environ.get(name)
        if not value:
            return None
        if self._sourced is None:
            owner = self.environ.get("TENANTRY_ENV_OF")
            self._sourced = read_env(Path(owner) / "env") if owner else {}
        return None if self._sourced.get(name) == value else value

    def write(self, path, text, mode=0o600):
        """Replaces a file at once, and only if it changes."""
        if path.exists() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode), "w") as out:
            out.write(text)
        fresh.chmod(mode)
        fresh.rename(path)

    def render_platform(self, values):
        """The platform configuration, with this stack's ports and addresses for its ${NAME} places."""
        template = ROOT / "infra" / "local" / "platform.toml"
        if not template.exists():
            return
        known = {name: str(port) for name, port in self.ports.items()} | {
            "LOCAL": str(self.local), "ROOT": str(self.root), "TARGET": str(self.target), **values}
        try:
            text = string.Template(template.read_text()).substitute(known)
        except (KeyError, ValueError) as problem:
            raise SystemExit(f"{template}: no value for {problem}; known are {', '.join(sorted(known))}") from None
        self.write(self.local / "platform.toml", text)

    def write_env(self, values):
        lines = [f"{name}={shlex.quote(str(value))}\n" for name, value in values.items()]
        self.write(self.env_file, "# Shell assignments of this stack; it holds secrets.\n" + "".join(lines))


def read_env(file):
    if not file.exists():
        return {}
    assignments = shlex.split(file.read_text(), comments=True)
    return dict(line.split("=", 1) for line in assignments if "=" in line)
