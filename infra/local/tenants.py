"""The three tenants of a first start: which may begin, and their progress beside each other."""

import sys

import provision
from starting import Beside

# What must be there beside tenant-service, which is ready after all that a tenant of the pooled instance needs.
SERVICE = "tenant-service"
EVERYTHING = "everything"  # every part, and every tool but the last
TOFU = "opentofu"
NEEDS = {"globex": {SERVICE}, "acme": {EVERYTHING}, "initech": {EVERYTHING, TOFU}}
# The order of the screen and of the work: an enterprise tenant would take acme's processors.
AFTER = {"initech": {"acme"}}


def beginnable(waiting, there, active):
    """The tenants that may begin, by what is there and who is ACTIVE."""
    return [slug for slug in waiting if NEEDS[slug] <= there and AFTER.get(slug, set()) <= active]


class Tenants:
    """`step` until `done`."""

    def __init__(self, values):
        self.values = values
        self.wanted = {wanted["slug"]: wanted for wanted in provision.TENANTS}
        self.waiting = sorted(self.wanted, key=list(NEEDS).index)
        self.running, self.active = {}, set()

    def done(self):
        return not (self.waiting or self.running)

    def step(self, there):
        """Those that are ACTIVE since the last step. Ends with the reason when one will not be."""
        for slug in beginnable(self.waiting, there, self.active):
            self.waiting.remove(slug)
            self.running[slug] = Beside(lambda slug=slug: self.provision(slug))
        fresh = [slug for slug, work in self.running.items() if work.ended()]
        for slug in fresh:
            if failed := self.running.pop(slug).result:
                raise SystemExit(failed)
        self.active.update(fresh)
        return fresh

    def provision(self, slug):
        return provision.provision(provision.connect(self.values), self.wanted[slug], Prefixed(f"{slug:8}", sys.stdout))


class Prefixed:
    """A stream whose lines tell whose they are. Each is written at once, so that those of several do not mix."""

    def __init__(self, prefix, out):
        self.prefix, self.out, self.text = prefix, out, ""

    def write(self, text):
        *lines, self.text = (self.text + text).split("\n")
        for line in lines:
            self.out.write(f"{self.prefix}{line}\n")

    def flush(self):
        self.out.flush()

    def isatty(self):
        return False
