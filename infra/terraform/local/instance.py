#!/usr/bin/env python3
"""A tenant's own Postgres instance, beside the stack's own parts under its supervisord. FOLDER is LOCAL/instances/TENANT.

    instance.py make FOLDER     a port from FIRST_PORT on and a data folder, for ADMIN_USER with ADMIN_PASSWORD
    instance.py start FOLDER    has it served, now and whenever the stack runs; waits until the administrator can log in
    instance.py password FOLDER ADMIN_PASSWORD is the administrator's password, whatever it was before
    instance.py stop FOLDER
    instance.py remove FOLDER   what `make` made; it must have been stopped

Each may be run again, and goes on where one that was killed has stopped.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import xmlrpc.client
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "local"))

import ports  # noqa: E402
import postgres_data  # noqa: E402
from settings import MARKER  # noqa: E402
from supervisor import PROGRAMS, Supervisor  # noqa: E402

PORTS = 100
BOUND = 60  # seconds
# supervisord's: no such program, it does not run, it is known already.
BAD_NAME, NOT_RUNNING, ALREADY_STARTED, ALREADY_ADDED = 10, 70, 60, 90


class Instance:
    def __init__(self, folder):
        self.folder, self.local = folder, folder.parent.parent
        # Nothing outside a stack's own folder is touched, whatever the arguments say.
        if folder.parent.name != "instances" or not (self.local / MARKER).is_file() or ".." in folder.parts:
            raise SystemExit(f"{folder} is not in the folder `instances` of a local stack")
        self.data = folder / "data"
        self.name = f"postgres-{folder.name}"
        self.program = self.local / PROGRAMS / f"{self.name}.conf"
        self.rpc = Supervisor(self.local).rpc

    def port(self):
        return int((self.folder / "port").read_text())

    def make(self):
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self.folder.parent / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (self.folder / "port").exists():
                write(self.folder / "port", f"{self.free_port(int(os.environ['FIRST_PORT']))}\n", 0o600)
        postgres_data.make(self.data, os.environ["ADMIN_USER"], os.environ["ADMIN_PASSWORD"])

    def free_port(self, first):
        taken = {int(file.read_text()) for file in self.folder.parent.glob("*/port")}
        for port in range(first, first + PORTS):
            if port not in taken and ports.free(port):
                return port
        raise SystemExit(f"no port from {first} to {first + PORTS - 1} is free: set INSTANCE_PORT to another hundred")

    def start(self):
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port(), "unix_socket_directories": "", "fsync": "on",
            "synchronous_commit": "on", "password_encryption": "scram-sha-256", "log_line_prefix": "%m [%p] %d ",
            # Many of these live beside each other on one machine.
            "max_connections": 60, "shared_buffers": "16MB",
        }
        script = self.folder / "start"
        write(script, f"#!/bin/sh\nset -eu\n{postgres_data.serve(self.data, settings)}\n", 0o700)
        text = str(self.folder).replace("%", "%%")
        write(self.program, "\n".join([
            f"[program:{self.name}]", f'command="{text}/start"', "autostart=true", "autorestart=true", "startsecs=1",
            # Fast shutdown: sessions are ended, nothing is lost. The postmaster ends its own children.
            "stopsignal=INT", "stopwaitsecs=60", "stopasgroup=false", "killasgroup=true", "redirect_stderr=true",
            f"stdout_logfile={text}/log", "stdout_logfile_maxbytes=5MB", "stdout_logfile_backups=0",
        ]) + "\n", 0o600)
        self.rpc.reloadConfig()
        unless(ALREADY_ADDED, self.rpc.addProcessGroup, self.name)
        unless(ALREADY_STARTED, self.rpc.startProcess, self.name, False)
        self.await_login()

    def await_login(self):
        end = time.monotonic() + BOUND
        while problem := self.refuses():
            # Made with another one, by a try whose password was lost.
            if "password authentication failed" in problem:
                return self.set_password()
            if time.monotonic() > end:
                raise SystemExit(f"{self.name} is not ready after {BOUND} s: {problem}; see {self.folder / 'log'}")
            time.sleep(0.1)

    def password(self):
        self.await_login()

    def set_password(self):
        """While nothing serves the data: nobody can log in to say it."""
        unless(NOT_RUNNING, self.rpc.stopProcess, self.name)
        user, password = os.environ["ADMIN_USER"], os.environ["ADMIN_PASSWORD"]
        said = postgres_data.alone(self.data, 'ALTER ROLE "%s" PASSWORD \'%s\'' % (user.replace('"', '""'), password.replace("'", "''")))
        unless(ALREADY_STARTED, self.rpc.startProcess, self.name, False)
        end = time.monotonic() + BOUND
        while problem := self.refuses():
            if time.monotonic() > end:
                raise SystemExit(f"{self.name}: the administrator's password cannot be set: {problem}; {said.replace(password, '***')}")
            time.sleep(0.1)

    def refuses(self):
        """Why the administrator cannot log in; nothing when they can."""
        psql = postgres_data.binary(self.data, "psql")
        env = os.environ | {"PGPASSWORD": os.environ["ADMIN_PASSWORD"], "PGCONNECT_TIMEOUT": "5"}
        place = f"postgresql://{os.environ['ADMIN_USER']}@127.0.0.1:{self.port()}/postgres"
        done = subprocess.run([psql, "-X", "-q", "-c", "SELECT 1", "-d", place], env=env, cwd="/", capture_output=True, text=True)
        return done.stderr.strip() or "psql failed" if done.returncode else None

    def stop(self):
        unless((BAD_NAME, NOT_RUNNING), self.rpc.stopProcess, self.name)
        unless(BAD_NAME, self.rpc.removeProcessGroup, self.name)
        self.program.unlink(missing_ok=True)
        self.rpc.reloadConfig()

    def remove(self):
        if self.program.exists():
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=False) if self.folder.exists() else None


def unless(codes, call, *arguments):
    """A call to supervisord; these refusals are as good as done."""
    try:
        call(*arguments)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode not in (codes if isinstance(codes, tuple) else (codes,)):
            raise SystemExit(f"supervisord: {fault.faultString}") from None


def write(path, text, mode):
    # A name of its own: a killed one may have left its file, and one that only seems dead may still be writing.
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{hashlib.sha256(text.encode()).hexdigest()[:8]}")
    with open(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode), "w") as out:
        out.write(text)
    fresh.rename(path)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("make", "start", "password", "stop", "remove"):
        raise SystemExit(__doc__)
    getattr(Instance(Path(sys.argv[2])), sys.argv[1])()
