"""The functions under `cargo lambda watch`: the Lambda Invoke API on this machine."""

import os
import shlex

from part import Part, executable
from parts.ours import told
from ports import answers

# Those that are long-running processes, not functions.
SERVERS = ("dispatcher", "event-relay", "tenant-api")
CONCURRENCY = 8


class Functions(Part):
    name = "functions"
    ports = ("LAMBDA_PORT",)
    profiles = ("full",)
    after = ("postgres", "kube-apiserver", "charts", "kwok", "tenant-api")
    tools = ("cargo-lambda",)

    def crates(self):
        found = (self.stack.root / "functions").glob("*/Cargo.toml")
        return sorted(path.parent.name for path in found if path.parent.name not in SERVERS)

    def wanted(self):
        return self.stack.invoker() == "lambda" and bool(self.crates())

    def binary(self, crate):
        return self.stack.target / "debug" / crate

    def needs(self):
        """Built before, so that a first invocation does not compile."""
        return [(executable(self.binary(crate)), f"{self.binary(crate)} (run `cargo build` first)")
                for crate in self.crates()]

    def prepare(self):
        # Rebuilt functions take effect by a restart: reloading while a run is under way would end its invocations.
        for crate in self.crates():
            found = self.binary(crate).stat()
            self.files[crate] = f"{found.st_mtime_ns} {found.st_size}"

    def command(self):
        return [
            self.stack.bin / "cargo-lambda", "lambda", "watch", "--invoke-address", "127.0.0.1",
            "--invoke-port", self.port("LAMBDA_PORT"), "--concurrency", CONCURRENCY, "--ignore-changes",
        ]

    def shell(self):
        return f"cd {shlex.quote(str(self.stack.root))} && " + super().shell()

    def environment(self):
        more = {"CARGO_TARGET_DIR": self.stack.target, "SQLX_OFFLINE": "true"}
        return told(self.stack) | more | ({"HOME": os.environ["HOME"]} if "HOME" in os.environ else {})

    def ready(self):
        return None if answers("127.0.0.1", self.port("LAMBDA_PORT")) else "its port does not answer"

    def exports(self):
        return {"LAMBDA_ENDPOINT": f"http://127.0.0.1:{self.port('LAMBDA_PORT')}"}
