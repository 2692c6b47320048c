"""The functions under `cargo lambda watch`: the Lambda Invoke API on this machine."""

import os
import shlex
import shutil

from part import Part, ask
from parts.ours import told
from ports import answers
from starting import Beside

# Those that are long-running processes, not functions.
SERVERS = ("dispatcher", "event-relay", "tenant-api")
CONCURRENCY = 8
# The phases of a tenant of the pooled instance. They need neither a cluster nor helm; others look for both as they start.
POOLED = ("issue-license", "setup-database", "create-bootstrap-user")
WARM_WITHIN = 30  # seconds
# `cargo lambda watch` starts a function by `cargo run --bin NAME`, which looks through the whole workspace first, several
# seconds each time. The cargo on its path starts the program that is built, and leaves everything else to the real one.
CARGO = """\
#!/bin/sh
[ "$1" = run ] || exec {cargo} "$@"
while [ $# -gt 1 ] && [ "$1" != --bin ]; do shift; done
exec {programs}/"$2"
"""


class Functions(Part):
    name = "functions"
    ports = ("LAMBDA_PORT",)
    profiles = ("full",)
    after = ("postgres", "tenant-api")
    fetches = ("cargo-lambda",)

    def crates(self):
        found = (self.stack.root / "functions").glob("*/Cargo.toml")
        return sorted(path.parent.name for path in found if path.parent.name not in SERVERS)

    def wanted(self):
        return self.stack.invoker() == "lambda" and bool(self.crates())

    def programs(self):
        """Built before, so that a first invocation does not compile."""
        return [self.stack.target / "debug" / crate for crate in self.crates()]

    def prepare(self):
        # Rebuilt functions take effect by a restart: reloading while a run is under way would end its invocations.
        for program in self.programs():
            found = program.stat()
            self.files[program.name] = f"{found.st_mtime_ns} {found.st_size}"
        cargo = shlex.quote(shutil.which("cargo") or "cargo")
        self.file("bin/cargo", CARGO.format(cargo=cargo, programs=shlex.quote(str(self.stack.target / "debug"))), 0o700)

    def command(self):
        return [
            self.stack.bin / "cargo-lambda", "lambda", "watch", "--invoke-address", "127.0.0.1",
            "--invoke-port", self.port("LAMBDA_PORT"), "--concurrency", CONCURRENCY, "--ignore-changes",
        ]

    def shell(self):
        return f"cd {shlex.quote(str(self.stack.root))} && " + super().shell()

    def environment(self):
        known = told(self.stack)
        more = {"CARGO_TARGET_DIR": self.stack.target, "SQLX_OFFLINE": "true", "CARGO": self.home / "bin" / "cargo",
                "PATH": f"{self.home / 'bin'}:{known['PATH']}"}
        return known | more | ({"HOME": os.environ["HOME"]} if "HOME" in os.environ else {})

    def ready(self):
        return None if answers("127.0.0.1", self.port("LAMBDA_PORT")) else "its port does not answer"

    def finish(self):
        self.warm(crate for crate in self.crates() if crate in POOLED)

    def settle(self):
        self.warm(crate for crate in self.crates() if crate not in POOLED)

    def warm(self, crates):
        """Has a process of each function started, side by side, before the first tenant waits for it."""
        def call(crate):
            # An event without a message is refused, and does nothing. A function that cannot start never answers.
            url = f"http://127.0.0.1:{self.port('LAMBDA_PORT')}/2015-03-31/functions/{crate}/invocations"
            return ask(url, method="POST", body={"rmqMessagesByQueue": {}}, timeout=WARM_WITHIN)

        # Not a pool, whose threads would hold up the end of the process.
        for calling in [Beside(lambda crate=crate: call(crate)) for crate in crates]:
            calling.join()

    def exports(self):
        return {"LAMBDA_ENDPOINT": f"http://127.0.0.1:{self.port('LAMBDA_PORT')}"}
