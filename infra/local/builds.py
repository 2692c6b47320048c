"""What a first start has to build or to fetch, while the parts that it has already come up: the Go tools one after the
other, our own programs beside them, and what is only downloaded beside both.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import build
from settings import ROOT

TOOLS = ROOT / "infra" / "tools"
# acme needs all but the last.
ORDER = ("kubernetes", "etcd", "kwok", "helm", "prometheus-operator", "cert-manager-controllers", "pebble", "otelcol",
         "opentofu")
FETCHED = {"cargo-lambda": "cargo_lambda.py", "maildev": "maildev_files.py", "kafka": "kafka_jars.py", "crds": "crd_files.py"}
OURS = "our own programs"
# Minutes of a debug build of everything on two cores, and of one after an edit.
FIRST, AGAIN = 8, 1
# Neither a Go build nor cargo keeps two cores busy all the time. Side by side each goes on at so much of its own pace.
SHARE = 0.6
EVERY = 30  # seconds between two lines about one thing
PATIENCE = 5  # seconds for what is interrupted to end


class Unit:
    """One thing to build or to fetch: a command, and the minutes that it takes alone."""

    def __init__(self, name, command, minutes=0, links=True):
        self.name, self.command, self.minutes = name, command, minutes
        self.links = links  # it says where each binary is, for LOCAL_BIN
        self.spent = 0.0  # seconds of its own pace
        self.since, self.process, self.done = None, None, False

    def left(self):
        """Seconds of its own pace. What takes longer than expected is always nearly ready."""
        return 0 if self.done else max(self.minutes * 60 - self.spent, self.minutes * 6)


def remaining(tools, cargo):
    """Seconds until all is built, by how long each side would take alone: both at once, then what is left of the longer."""
    return min(tools, cargo) / SHARE + abs(tools - cargo)


def words(seconds):
    """A length of time as a person says it."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{round(seconds / 60)} min"


def told(running, waiting, left, now):
    """The line that says what is being built, since when, and for how long it still will be."""
    doing = " and ".join(f"{unit.name} ({words(now - unit.since)} so far)" for unit in running)
    then = f", then {', '.join(unit.name for unit in waiting)}" if waiting else ""
    return f"  building {doing}{then}: about {words(max(left, 10))} left"


def binaries(answer):
    """Where each binary is, by the lines of build.py and cargo_lambda.py: NAME PATH."""
    return {name: Path(path) for name, path in (line.split(" ", 1) for line in answer.splitlines())}


class Lane:
    """Units that are built one after the other."""

    def __init__(self, units):
        self.units = list(units)

    def current(self):
        return next((unit for unit in self.units if unit.since is not None and not unit.done), None)

    def waiting(self):
        return [unit for unit in self.units if unit.since is None]

    def left(self):
        return sum(unit.left() for unit in self.units)


class Builds:
    """All that is being built; `step` until `done`, `end` in any case."""

    def __init__(self, stack, tools, fetched, say):
        self.stack, self.say = stack, say
        known = {tool.name: tool for tool in build.tools()}
        self.built, self.links = set(), {}
        missing = []
        for name in sorted(tools, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)):
            if known[name].folder().is_dir():
                self.arrived(name, {binary: known[name].folder() / binary for binary in known[name].binaries})
            else:
                missing.append(Unit(name, [sys.executable, TOOLS / "build.py", name], known[name].minutes))
        again = (stack.target / "debug" / "dispatcher").exists()
        self.tools = Lane(missing)
        self.cargo = Lane([Unit(OURS, ["cargo", "build", "--bins", "--locked"], AGAIN if again else FIRST)])
        self.fetches = Lane(Unit(name, [sys.executable, TOOLS / FETCHED[name]], links=name == "cargo-lambda")
                            for name in FETCHED if name in fetched)
        self.lanes = (self.tools, self.cargo, self.fetches)
        self.looked = self.spoken = time.monotonic()
        self.news = False

    def done(self):
        return all(unit.done for lane in self.lanes for unit in lane.units)

    def there(self, part):
        """Whether what a part is made of is."""
        wanted = {*getattr(part, "tools", ()), *part.fetches, *([OURS] if part.programs() else [])}
        return self.built.issuperset(wanted)

    def arrived(self, name, links):
        self.built.add(name)
        self.links |= links

    def step(self):
        """Begins what can be begun, takes in what has ended; ends with the end of a log when something has failed."""
        now = time.monotonic()
        for lane in self.lanes:
            if (unit := lane.current()) and unit.process.poll() is not None:
                self.take(unit)
            if lane.current() is None and lane.waiting():
                self.begin(lane.waiting()[0], now)
        self.count(now - self.looked)
        self.looked = now
        # Of what takes a moment only, nothing is said.
        waited = now - self.spoken
        if waited >= EVERY or (self.news and waited >= 2):
            self.spoken, self.news = now, False
            if running := [unit for lane in (self.tools, self.cargo) if (unit := lane.current())]:
                self.say(told(running, self.tools.waiting(), remaining(self.tools.left(), self.cargo.left()), now))

    def count(self, seconds):
        running = [unit for lane in (self.tools, self.cargo) if (unit := lane.current())]
        for unit in running:
            unit.spent += seconds * (SHARE if len(running) > 1 else 1)

    def log(self, unit):
        return self.stack.local / "logs" / f"build-{unit.name.replace(' ', '-')}.log"

    def begin(self, unit, now):
        # What a killed go leaves in its temporary folder goes with the stack's.
        env = os.environ | {"SQLX_OFFLINE": "true", "TMPDIR": str(self.stack.tmp)}
        with open(self.log(unit), "w") as log, open(self.answer(unit), "w") as answer:
            try:
                # A group of its own, which can be ended as a whole.
                unit.process = subprocess.Popen([str(word) for word in unit.command], cwd=ROOT, env=env, process_group=0, umask=0o022,
                                                stdin=subprocess.DEVNULL, stdout=answer, stderr=log)
            except OSError as problem:
                raise SystemExit(f"{unit.command[0]} cannot be started: {problem}") from None
        unit.since = now
        self.news = True

    def answer(self, unit):
        return self.log(unit).with_suffix(".out")

    def take(self, unit):
        if unit.process.returncode:
            tail = self.log(unit).read_text(errors="replace").splitlines()[-40:]
            raise SystemExit("\n".join([f"building {unit.name} failed; the end of {self.log(unit)}:",
                                        *("  | " + line[:300] for line in tail)]))
        unit.done = self.news = True
        answer = self.answer(unit).read_text()
        self.answer(unit).unlink()
        self.arrived(unit.name, binaries(answer) if unit.links else {})
        if unit.minutes and time.monotonic() - unit.since > 2:
            built = "are" if unit.name == OURS else "is"
            self.say(f"  {unit.name} {built} built ({words(time.monotonic() - unit.since)})")

    def end(self):
        """Ends what is being built. Nothing half-made stays: each is built beside its place and moved there when whole."""
        running = [unit.process for lane in self.lanes if (unit := lane.current()) and unit.process.poll() is None]
        # Go takes its temporary files away when it is interrupted; what was started in the background ignores that.
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            for process in running:
                try:
                    os.killpg(process.pid, sign)
                except ProcessLookupError:
                    pass
            end = time.monotonic() + PATIENCE
            for process in running:
                try:
                    process.wait(max(end - time.monotonic(), 0))
                except subprocess.TimeoutExpired:
                    pass
            running = [process for process in running if process.poll() is None]
