"""A Postgres instance's data folder: which programs serve it, how it is made, and running them unprivileged."""

import base64
import hashlib
import hmac
import os
import secrets
import shlex
import shutil
import subprocess
from pathlib import Path

from part import executable

INSTALLED = Path("/usr/lib/postgresql")
# The system user of Debian's package; Postgres refuses to run as root.
USER = "postgres"


def binary(data, name):
    """Of the version that made the data, else of the newest one installed; None where there is none."""
    version = data / "PG_VERSION"
    if version.exists():
        return INSTALLED / version.read_text().strip() / "bin" / name
    found = [folder for folder in INSTALLED.glob("*") if executable(folder / "bin" / "initdb")]
    return max(found, key=lambda folder: float(folder.name)) / "bin" / name if found else None


def as_user(folder, command):
    """A shell line that runs the command unprivileged when root starts it.

    The folder is handed over as the open descriptor 9: that user may not be able to walk there (a checkout below /root, or
    in a folder made by mktemp), and needs no right to.
    """
    drop = f"setpriv --reuid={USER} --regid={USER} --init-groups " if os.getuid() == 0 else ""
    return f"cd / && exec 9< {shlex.quote(str(folder))} && exec {drop}{command}"


def make(data, superuser, password):
    """A new data folder. One that is there stays; a kill in the middle leaves none."""
    if data.exists():
        return
    fresh, file = data.with_name("data.new"), data.with_name("password")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True, mode=0o700)
    with open(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as out:
        out.write(password)
    if os.getuid() == 0:
        shutil.chown(fresh, USER, USER)
        shutil.chown(file, USER, USER)
    try:
        initdb = f"{binary(data, 'initdb')} -D /proc/self/fd/9 -U {shlex.quote(superuser)} --pwfile=/proc/self/fd/8 -E UTF8 " \
                 "--no-locale --auth=scram-sha-256"
        done = subprocess.run(["sh", "-c", f"exec 8< {shlex.quote(str(file))}; " + as_user(fresh, initdb)],
                              capture_output=True, text=True)
    finally:
        file.unlink()
    if done.returncode:
        raise SystemExit(f"initdb failed: {done.stderr.strip()}")
    fresh.rename(data)


def verifier(password, iterations=1):
    """What Postgres keeps of a password, so that it is never sent (RFC 5802). Iterations are against guessing, and nobody guesses
    192 random bits. With Postgres's own 4,096, a twentieth of the tests' time went into logging in.
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt, stored, server = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{salt}${stored}:{server}"


def alone(data, statement):
    """Runs a statement on data that nothing serves; what was said. The statement is in no argument."""
    command = as_user(data, f"{binary(data, 'postgres')} --single -D /proc/self/fd/9 postgres")
    done = subprocess.run(["sh", "-c", command], input=f"{statement}\n", capture_output=True, text=True)
    return done.stderr.strip()


def serve(data, settings):
    """A shell line that serves the data folder with these settings."""
    options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
    return as_user(data, f"{binary(data, 'postgres')} -D /proc/self/fd/9 {options}")
