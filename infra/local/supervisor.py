"""supervisord: its one configuration file, the calls to it over its socket, and what it may have left behind."""

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
# The folder of programs that come and go while the stack runs, a file each.
PROGRAMS = "programs"


class Supervisor:
    def __init__(self, local):
        self.local = local
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

    def configure(self, programs):
        """Writes the configuration; a running supervisord stops what changed or left it and learns what is new."""
        self.conf.write_text(render(self.local, self.socket, programs))
        self.conf.chmod(0o600)
        if not self.alive():
            return
        added, changed, removed = self.rpc.reloadConfig()[0]
        order = [program.name for program in programs]
        others = self.dropped_in()
        added, changed, removed = ([name for name in names if name not in others] for names in (added, changed, removed))
        # The last first: what has lost the part that it depends on ends slowly.
        for name in [*removed, *sorted(changed, key=order.index, reverse=True)]:
            self.rpc.stopProcessGroup(name)
            self.rpc.removeProcessGroup(name)
        for name in [*added, *changed]:
            self.rpc.addProcessGroup(name)

    def launch(self):
        if self.alive():
            return
        self.socket.unlink(missing_ok=True)
        env = os.environ | {MARK: str(self.local)}
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


def render(local, sock, programs):
    def text(path):
        return str(path).replace("%", "%%")

    lines = [
        "; Written by infra/local/stack.py at each start.",
        "[unix_http_server]", f"file={text(sock)}", "chmod=0600",
        "[supervisord]", f"logfile={text(local / 'logs/supervisord.log')}", "logfile_maxbytes=10MB", "logfile_backups=1",
        f"pidfile={text(local / 'supervisord.pid')}", f"childlogdir={text(local / 'logs')}", "minfds=4096",
        *(["user=root"] if os.getuid() == 0 else []),
        "[rpcinterface:supervisor]", "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
        "[include]", f"files={text(local / PROGRAMS)}/*.conf",
        "[supervisorctl]", f"serverurl=unix://{text(sock)}",
    ]
    for order, program in enumerate(programs):
        group = "true" if program.stop_group else "false"
        lines += [
            f"[program:{program.name}]", f'command="{text(program.script)}"', f"priority={order + 1}",
            # A changed fingerprint is what makes a running supervisord restart the part.
            f'environment=FINGERPRINT="{program.fingerprint()}"',
            "autostart=false", "autorestart=true", "startsecs=1", "startretries=3",
            f"stopsignal={program.stop_signal}", f"stopwaitsecs={program.stop_wait}",
            f"stopasgroup={group}", "killasgroup=true",
            "redirect_stderr=true", f"stdout_logfile={text(program.log)}", "stdout_logfile_maxbytes=20MB",
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
