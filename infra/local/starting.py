"""Brings the parts up: each once what it is made of is there and the parts that it comes after are ready."""

import threading
import time

# What lives again by itself or is to be started.
LIVING = ("RUNNING", "STARTING", "BACKOFF")


def startable(waiting, there, ready, chosen):
    """The parts that may start now: what they are made of is there, and all that they come after is ready or not ours."""
    names = {part.name for part in chosen}
    return [part for part in waiting if there(part) and ready.issuperset(names.intersection(part.after))]


class Start:
    """One start of a stack, a look at a time: `step` until `done`."""

    def __init__(self, stack, supervisor, chosen, say):
        self.stack, self.supervisor, self.chosen, self.say = stack, supervisor, chosen, say
        self.waiting, self.prepared = list(chosen), set()
        self.starting, self.finishing, self.ready = {}, {}, set()
        self.patience = 1  # times the bound of a part that is started: all is slower beside a build

    def done(self):
        return not (self.waiting or self.starting or self.finishing)

    def step(self, there):
        """`there` says of a part whether its tools and programs are."""
        # Several at once, so that those that are changed are stopped in the right order.
        if fresh := [part for part in self.waiting if part.name not in self.prepared and there(part)]:
            self.prepare(fresh)
        for part in startable(self.waiting, there, self.ready, self.chosen):
            self.waiting.remove(part)
            part.before_start()
            unborn = self.supervisor.info(part.name)["statename"] not in LIVING
            if unborn:
                self.supervisor.start(part.name)
            self.starting[part] = (time.monotonic(), unborn, part.bound * self.patience)
        self.look()
        # What a part does last is done beside the others' start.
        for part, (since, unborn, last) in list(self.finishing.items()):
            if last.ended():
                del self.finishing[part]
                self.ready.add(part.name)
                if unborn:
                    self.say(f"  {part.name} is ready ({time.monotonic() - since:.1f} s)")

    def prepare(self, parts):
        for part in parts:
            part.prepare()
            part.write_script()
            self.prepared.add(part.name)
        self.supervisor.configure(parts)

    def look(self):
        for part, (since, unborn, bound) in list(self.starting.items()):
            problem = part.ready()
            state = self.supervisor.info(part.name)
            if problem is None and state["statename"] in ("RUNNING", "STARTING"):
                del self.starting[part]
                self.finishing[part] = (since, unborn, Beside(part.finish))
            elif state["statename"] in ("FATAL", "EXITED", "UNKNOWN"):
                raise fail(part, f"{part.name} ended: {state['spawnerr'] or 'exit status ' + str(state['exitstatus'])}")
            elif time.monotonic() - since > bound:
                raise fail(part, f"{part.name} is not ready after {bound} s: {problem or state['statename']}")


class Beside(threading.Thread):
    """Work beside the main thread; the end of the process does not wait for it."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.result, self.failure = work, None, None
        self.start()

    def run(self):
        try:
            self.result = self.work()
        except BaseException as failure:
            self.failure = failure

    def ended(self):
        """Whether it has ended; raises what went wrong."""
        if self.is_alive():
            return False
        if self.failure:
            raise self.failure
        return True


def fail(part, line):
    tail = part.log.read_text(errors="replace").splitlines()[-25:] if part.log.exists() else []
    return SystemExit("\n".join([line, f"the end of {part.log}:", *("  | " + text[:300] for text in tail)]))
