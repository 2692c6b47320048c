"""supervisord: its one configuration file, the calls to it over its socket, and what it may have left behind."""

import contextlib
import hashlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
import xmlrpc.client
from pathlib import Path

# Every process of a stack carries this variable with the stack's folder, so that orphans of a killed supervisord are found.
MARK = "TENANTRY_STACK"
# The folder of the stack's own parts, a file each.
PARTS = "parts"
# The folder of programs that come and go while the stack runs, a file each.
PROGRAMS = "programs"


class Supervisor:
    def __init__(self, local, order=()):
        """`order` has the names of all parts, those first that start first."""
        self.local, self.order = local, list(order)
        self.conf = local / "supervisord.conf"
        self.socket = socket_path(local)
        self.rpc = xmlrpc.client.ServerProxy("http://localhost", transport=OverUnixSocket(self.socket)).supervisor

    def alive(self):
        try:
            return self.rpc.getState()["statename"] == "RUNNING"
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return False

    def states(self):
        """State name by part; empty when supervisord does not run."""
        if not self.alive():
            return {}
        return {info["name"]: info["statename"] for info in self.rpc.getAllProcessInfo()}

    def info(self, name):
        return self.rpc.getProcessInfo(name)

    def launch(self, names):
        """Starts supervisord, which runs nothing yet. One that runs stops the parts that are not of `names`."""
        write(self.conf, render(self.local, self.socket))
        for file in (self.local / PARTS).glob("*.conf"):
            if file.stem not in names:
                file.unlink()
        if self.alive():
            self.reload()
            return
        for file in (self.local / PARTS).glob("*.conf"):
            file.unlink()
        self.socket.unlink(missing_ok=True)
        env = os.environ | {MARK: str(self.local), "TMPDIR": str(self.local / "tmp")}
        with open(self.local / "logs" / "supervisord.out", "w") as out:
            done = subprocess.run([shutil.which("supervisord"), "-c", self.conf], env=env, stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=out, cwd="/")
        for _ in range(100):
            if done.returncode == 0 and self.alive():
                return
            if done.returncode:
                break
            time.sleep(0.1)
        told = (self.local / "logs" / "supervisord.out").read_text().strip()
        raise SystemExit(f"supervisord did not start: {told or 'see ' + str(self.local / 'logs/supervisord.log')}")

    def configure(self, parts):
        """Tells supervisord of these parts. What is changed is stopped, everything else runs on."""
        for part in parts:
            write(self.local / PARTS / f"{part.name}.conf", section(part, self.order.index(part.name)))
        self.reload()

    def reload(self):
        added, changed, removed = self.rpc.reloadConfig()[0]
        others = self.dropped_in()
        added, changed, removed = ([name for name in names if name not in others] for names in (added, changed, removed))
        # The last first: what has lost the part that it depends on ends slowly.
        for name in sorted([*removed, *changed], key=self.place, reverse=True):
            self.rpc.stopProcessGroup(name)
            self.rpc.removeProcessGroup(name)
        for name in [*added, *changed]:
            self.rpc.addProcessGroup(name)

    def place(self, name):
        return self.order.index(name) if name in self.order else len(self.order)

    def dropped_in(self):
        """Programs that others than the stack have added, by a file of their own: tenants' instances, Terraform at work."""
        return {file.stem for file in (self.local / PROGRAMS).glob("*.conf")}

    def revive(self):
        """Starts again those of them that are always to run, as the stack does with its own parts; their names."""
        dead = [info["name"] for info in self.rpc.getAllProcessInfo()
                if info["name"] in self.dropped_in() and info["statename"] not in ("RUNNING", "STARTING")
                and "autostart=true" in (self.local / PROGRAMS / f"{info['name']}.conf").read_text()]
        for name in dead:
            self.start(name)
        return dead

    def start(self, name):
        self.rpc.startProcess(name, False)

    def stop(self, first=()):
        """Ends every part and supervisord itself, these parts first; returns when no process of this stack is left."""
        if self.alive():
            for name in first:
                self.halt(name)
            self.halt("rabbitmq", wait=False)  # takes longest, so it ends while the others do
            self.rpc.shutdown()
            wait_gone(self.local, 60)
        end_leftovers(self.local)
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.local:
            with contextlib.suppress(OSError):  # somebody has put something there
                self.socket.parent.rmdir()

    def end_strays(self):
        """Ends what outlived its parent while supervisord goes on: children of a part that was killed, a stray epmd."""
        if not self.alive():
            return
        keep = self.rpc.getPID()
        for pid in processes(self.local):
            try:
                # The parent is the second field after the name, which stands in parentheses and may hold anything.
                parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
                if parent == 1 and pid != keep:
                    os.kill(pid, signal.SIGKILL)
            except (OSError, IndexError):
                continue  # gone meanwhile

    def halt(self, name, wait=True):
        try:
            self.rpc.stopProcess(name, wait)
        except xmlrpc.client.Fault:
            pass  # it does not run, or is no part of this stack


class OverUnixSocket(xmlrpc.client.Transport):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def make_connection(self, host):
        connection = http.client.HTTPConnection(host, timeout=120)

        def connect():
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(120)
            connection.sock.connect(str(self.path))

        connection.connect = connect
        return connection


def socket_path(local):
    """Beside the data where the path fits: the system takes 107 bytes, and supervisord makes a temporary name longer."""
    path = local / "supervisor.sock"
    if len(os.fsencode(path)) <= 90:
        return path
    digest = hashlib.sha256(os.fsencode(local)).hexdigest()[:12]
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / f"tenantry-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise SystemExit(f"{folder} is not a private folder of this user: remove it")
    return folder / "supervisor.sock"


def write(path, text):
    path.write_text(text)
    path.chmod(0o600)


def text(path):
    """A path as supervisord reads it."""
    return str(path).replace("%", "%%")


def render(local, sock):
    lines = [
        "; Written by infra/local/stack.py at each start.",
        "[unix_http_server]", f"file={text(sock)}", "chmod=0600",
        "[supervisord]", f"logfile={text(local / 'logs/supervisord.log')}", "logfile_maxbytes=10MB", "logfile_backups=1",
        f"pidfile={text(local / 'supervisord.pid')}", f"childlogdir={text(local / 'logs')}", "minfds=4096",
        *(["user=root"] if os.getuid() == 0 else []),
        "[rpcinterface:supervisor]", "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
        "[include]", f"files={text(local / PARTS)}/*.conf {text(local / PROGRAMS)}/*.conf",
        "[supervisorctl]", f"serverurl=unix://{text(sock)}",
    ]
    return "\n".join(lines) + "\n"


def section(part, order):
    """A part's file."""
    group = "true" if part.stop_group else "false"
    lines = [
        "; Written by infra/local/stack.py at each start.",
        f"[program:{part.name}]", f'command="{text(part.script)}"', f"priority={order + 1}",
        # A changed fingerprint is what makes a running supervisord restart the part.
        f'environment=FINGERPRINT="{part.fingerprint()}"',
        "autostart=false", "autorestart=true", "startsecs=1", "startretries=3",
        f"stopsignal={part.stop_signal}", f"stopwaitsecs={part.stop_wait}",
        f"stopasgroup={group}", "killasgroup=true",
        "redirect_stderr=true", f"stdout_logfile={text(part.log)}", "stdout_logfile_maxbytes=20MB",
        "stdout_logfile_backups=1",
    ]
    return "\n".join(lines) + "\n"


def processes(local):
    """The ids of every living process that carries this stack's mark."""
    mark = os.fsencode(f"{MARK}={local}")
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue  # gone meanwhile, or another user's
    return found


def wait_gone(local, seconds):
    end = time.monotonic() + seconds
    while processes(local) and time.monotonic() < end:
        time.sleep(0.1)


def end_leftovers(local):
    for sign, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        for pid in processes(local):
            try:
                os.kill(pid, sign)
            except OSError:
                pass
        wait_gone(local, patience)
    if left := processes(local):
        raise SystemExit(f"processes {left} do not end: end them by hand")
