"""maildev: takes every e-mail and keeps it in a mailbox that can be read over HTTP; nothing is sent on."""

import shutil

import maildev_files
from part import Part, serves
from ports import answers


class Maildev(Part):
    name = "maildev"
    ports = ("SMTP_PORT", "MAILBOX_PORT")
    given = "SMTP_URL"
    fetches = ("maildev",)

    def needs(self):
        npm = maildev_files.cached() or shutil.which("npm") or None
        return [(shutil.which("node"), "nodejs"), (npm, "npm")]

    def prepare(self):
        (self.home / "mail").mkdir(parents=True, exist_ok=True)

    def command(self):
        return [
            shutil.which("node"), "--max-old-space-size=128", maildev_files.program(), "--silent",
            "--ip", "127.0.0.1", "--smtp", self.port("SMTP_PORT"),
            "--web-ip", "127.0.0.1", "--web", self.port("MAILBOX_PORT"), "--mail-directory", self.home / "mail",
        ]

    def ready(self):
        if not answers("127.0.0.1", self.port("SMTP_PORT")):
            return "its SMTP port does not answer"
        return serves(f"http://127.0.0.1:{self.port('MAILBOX_PORT')}/healthz")

    def exports(self):
        if url := self.stack.given("SMTP_URL"):
            return {"SMTP_URL": url, "MAILBOX_URL": self.stack.environ.get("MAILBOX_URL", "")}
        return {"SMTP_URL": f"smtp://127.0.0.1:{self.port('SMTP_PORT')}",
                "MAILBOX_URL": f"http://127.0.0.1:{self.port('MAILBOX_PORT')}"}
