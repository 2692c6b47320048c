#!/usr/bin/env python3
"""The local stack: real parts under supervisord, everything on 127.0.0.1.

    stack.py up [--profile full|test|region]
                                        starts what does not run; waits until every part is ready
    stack.py down                       stops everything
    stack.py status                     the parts and their state
    stack.py clean                      stops everything and forgets all data (built tools stay in the cache)
    stack.py env                        prints the env file: set -a; . .local/env
    stack.py ports                      prints the ports

The profile "test" starts only what comes from outside (Postgres, RabbitMQ, Kafka, a mailbox, name servers, Kubernetes,
cert-manager with an ACME server, the chart repository), none of our own programs. The profile "region" starts what another
region has for itself: a Postgres and a cluster. In a folder and with ports of its own, it runs beside another stack.

Environment:
    TENANTRY_LOCAL          folder of data, logs and keys (.local)
    PORT_OFFSET             added to every port of infra/local/ports.env; each can be overridden by its own name
    INVOKER                 lambda (functions under cargo lambda watch, the default) or embedded (in the dispatcher)
Used instead of starting a part:
    DATABASE_URL            Postgres; its user must be able to create databases and roles. REGION_DATABASE_HOST, _PORT,
                            _ADMIN_USER and _ADMIN_PASSWORD name another server for the tenants' databases
    AMQP_URL                RabbitMQ with a vhost; RABBITMQ_MANAGEMENT_URL goes with it
    TENANTRY_KUBECONFIG     a cluster; nothing of Kubernetes is started then, and pods are not simulated. It brings its own
                            cert-manager, Prometheus operator, load balancer,
                            Loki and Tempo
    CHART_REPOSITORY_URL    a chart repository
    PDNS_URL, PARENT_PDNS_URL
                            the HTTP APIs of PowerDNS for the tenants' zones and for their parent; PDNS_API_KEY,
                            DNS_ADDR, PARENT_DNS_ADDR and RESOLVER_ADDR (host:port) go with them
    ACME_DIRECTORY_URL      an ACME server; ACME_ROOTS_URL (its root certificate) and ACME_CA_FILE (the authority of both
                            addresses) go with it
    KAFKA_BROKERS           Kafka
    SMTP_URL                an SMTP server; MAILBOX_URL, maildev's HTTP API, goes with it
"""

import argparse
import contextlib
import fcntl
import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tools")]

import build  # noqa: E402
import cargo_lambda  # noqa: E402
import parts  # noqa: E402
import ports  # noqa: E402
import settings  # noqa: E402
from part import executable  # noqa: E402
from starting import Start  # noqa: E402
from supervisor import Supervisor, processes, socket_path  # noqa: E402

OPEN_FILES = 4096
# Tools of Debian packages that tests and operators use beside those of LOCAL_BIN.
FROM_DEBIAN = ("amtool", "dig", "promtool")
# What lies in the folder beside one folder for each part.
OWN_FILES = ("bin", "charts.new", "charts.src", "env", "helm", "instances", "kubeconfig", "lock", "logs", "parts",
             "platform.toml", "ports", "programs", "secrets.json", "start", "supervisor.sock", "supervisord.conf",
             "supervisord.pid", "terraform", "tmp")


class Stack(settings.Stack):
    def __init__(self, profile="full", environ=os.environ):
        super().__init__(profile, environ)
        self.parts = [kind(self) for kind in parts.ALL]
        self.values = {}

    def invoker(self):
        invoker = self.environ.get("INVOKER") or "lambda"
        if invoker not in ("lambda", "embedded"):
            raise SystemExit(f"INVOKER={invoker}: it is lambda or embedded")
        return invoker

    def chosen(self):
        return [part for part in self.parts if self.profile in part.profiles and part.wanted()]

    def env_values(self):
        """The env file's content. Addresses of our own parts are in it in every profile: tests start them themselves."""
        values = {}
        for part in self.parts:
            values |= part.exports()
        return values | {"SUPERVISOR_SOCKET": socket_path(self.local), "LOCAL_BIN": self.bin,
                         "TENANTRY_CONFIG": self.local / "platform.toml", "TENANTRY_ENV_OF": self.local}


def check(stack, chosen, states, built):
    """Everything that can be said before anything starts, one line each."""
    problems = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        problems.append(f"at most {hard} files may be open here and the stack needs {OPEN_FILES}: "
                        f"raise the hard limit (ulimit -Hn {OPEN_FILES})")
    else:
        wish = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wish), hard))
    missing = {what for part in chosen for there, what in part.needs() if not there}
    if built:
        missing |= {f"{path} (run `cargo build` first)" for part in chosen for path in part.programs() if not executable(path)}
    if not shutil.which("supervisord"):
        missing.add("supervisor")
    problems += [f"missing: {what}" for what in sorted(missing)]
    for part in chosen:
        if states.get(part.name) in ("RUNNING", "STARTING", "STOPPING"):
            continue
        for host, name in [*(("127.0.0.1", name) for name in part.ports), *part.elsewhere]:
            if not ports.free(part.port(name), host):
                problems.append(f"port {part.port(name)} of {host}, wanted by {part.name}, is used by another program: "
                                f"stop it, or set {name} or PORT_OFFSET")
    if problems:
        raise SystemExit("\n".join(problems))


def wanted_tools(stack, chosen):
    """What is built of infra/tools for these parts, and for the phases."""
    return {tool for part in chosen for tool in part.tools} | {"helm", "kubernetes", "opentofu"}


def link_tools(stack, chosen):
    """The folder LOCAL_BIN, with links to the tools; what is missing is built first."""
    found = build.binaries(sorted(wanted_tools(stack, chosen)))
    if parts.Functions(stack).crates():
        found["cargo-lambda"] = cargo_lambda.binary()  # tests start it themselves
    link(stack, found | from_debian())


def from_debian():
    # Their real places: the first on PATH may be the link that is made here.
    return {name: os.path.realpath(path) for name in FROM_DEBIAN if (path := shutil.which(name))}


def link(stack, found):
    for name, target in found.items():
        link = stack.bin / name
        if not link.is_symlink() or os.readlink(link) != str(target):
            link.unlink(missing_ok=True)
            link.symlink_to(target)


@contextlib.contextmanager
def locked(stack):
    """One start or stop of a stack at a time."""
    with open(stack.local / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another start or stop of {stack.local}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def begin(stack, chosen, built=True):
    """Everything before the first part starts; supervisord, which runs. `built`: cargo has built our programs already."""
    supervisor = Supervisor(stack.local, [part.name for part in stack.parts])
    if not supervisor.alive() and processes(stack.local):
        say("stopping what an earlier start left behind")
        supervisor.stop()
    supervisor.end_strays()
    check(stack, chosen, supervisor.states(), built)
    if not supervisor.alive():
        shutil.rmtree(stack.tmp, ignore_errors=True)
        stack.tmp.mkdir()
    stack.values = stack.env_values()
    stack.render_platform(stack.values)
    for part in stack.parts:
        if part.given and stack.given(part.given) and hasattr(part, "adopt"):
            part.adopt()
    for part in chosen:
        part.beforehand()
    supervisor.launch({part.name for part in chosen})
    return supervisor


def up(stack):
    began = time.monotonic()
    stack.must_be_ours()
    stack.make_folders()
    chosen = stack.chosen()
    with locked(stack):
        supervisor = begin(stack, chosen)
        link_tools(stack, chosen)
        start = Start(stack, supervisor, chosen, say)
        while not start.done():
            start.step(lambda part: True)
            time.sleep(0.05)
        finish(stack, supervisor, chosen)
    say(f"ready in {time.monotonic() - began:.1f} s: {stack.env_file}")


def finish(stack, supervisor, chosen):
    """What is left to do once every part is ready."""
    for name in supervisor.revive():
        say(f"  {name} is started again")
    for part in chosen:
        part.settle()
    stack.write_env(stack.values)


def status(stack):
    supervisor = Supervisor(stack.local)
    states = supervisor.states()
    if not states:
        say("the stack does not run")
        return 3
    worst = 0
    for part in stack.parts:
        if part.name not in states:
            continue
        problem = part.ready() if states[part.name] == "RUNNING" else "see " + str(part.log)
        print(f"{part.name:24} {states[part.name]:9} {'ready' if problem is None else problem}")
        worst = max(worst, 0 if problem is None else 1)
    return worst


def down(stack):
    stack.must_be_ours()
    if not stack.local.is_dir():
        return
    with locked(stack):
        Supervisor(stack.local).stop([part.name for part in reversed(stack.parts) if part.profiles == ("full",)])
        # What processes have left there that were killed.
        shutil.rmtree(stack.tmp, ignore_errors=True)


def clean(stack):
    """Removes what a stack makes, by name, and the folder only if nothing else is left in it."""
    down(stack)
    if not stack.local.is_dir():
        return
    mine = {part.name for part in stack.parts} | set(OWN_FILES)
    for path in stack.local.iterdir():
        if path.name in mine and path.name != settings.MARKER:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    left = sorted(path.name for path in stack.local.iterdir() if path.name != settings.MARKER)
    if left:
        raise SystemExit(f"left in {stack.local}, because no stack made it: {', '.join(left)}")
    (stack.local / settings.MARKER).unlink()
    stack.local.rmdir()


def say(line):
    print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("up", "down", "status", "clean", "env", "ports"))
    parser.add_argument("--profile", choices=("full", "test", "region"), default="full")
    asked = parser.parse_args()
    os.umask(0o077)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if asked.command != "up":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `status | head` is no fault
    stack = Stack(asked.profile)
    if asked.command == "env":
        if not stack.env_file.exists():
            raise SystemExit(f"{stack.env_file} is not there yet: start the stack first")
        print(stack.env_file.read_text(), end="")
    elif asked.command == "ports":
        for name, port in stack.ports.items():
            print(f"{name}={port}")
    else:
        return {"up": up, "down": down, "status": status, "clean": clean}[asked.command](stack)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
