"""RabbitMQ with its management plugin: a private node, every listener on 127.0.0.1."""

import shlex
import urllib.parse
from pathlib import Path

from part import Part, ask, executable
from ports import answers
from supervisor import MARK

# Debian's wrappers in /usr/sbin switch to the user rabbitmq and the system's node; these do not.
BINARIES = Path("/usr/lib/rabbitmq/bin")
USER = "tenantry"


class RabbitMq(Part):
    name = "rabbitmq"
    ports = ("AMQP_PORT", "RABBITMQ_MANAGEMENT_PORT", "RABBITMQ_DISTRIBUTION_PORT")
    after = ("epmd",)
    given = "AMQP_URL"
    bound = 120
    stop_group = False  # Erlang's helper process must not end before the node has closed its files
    stop_wait = 60

    def needs(self):
        return [(executable(BINARIES / "rabbitmq-server"), "rabbitmq-server")]

    def prepare(self):
        home = self.home / "home"
        home.mkdir(parents=True, exist_ok=True)
        cookie = home / ".erlang.cookie"
        if not cookie.exists():
            self.stack.write(cookie, self.stack.secret("erlang_cookie"), 0o400)
        self.file("enabled_plugins", "[rabbitmq_management].\n")
        self.file("rabbitmq.conf", f"""\
listeners.tcp.1 = 127.0.0.1:{self.port("AMQP_PORT")}
management.tcp.ip = 127.0.0.1
management.tcp.port = {self.port("RABBITMQ_MANAGEMENT_PORT")}
default_vhost = tenantry
default_user = {USER}
default_pass = {self.stack.secret("rabbitmq")}
default_user_tags.administrator = true
default_permissions.configure = .*
default_permissions.read = .*
default_permissions.write = .*
log.console = true
log.console.level = info
log.console.use_colors = off
log.file = false
""")
        self.stack.write(self.stack.bin / "rabbitmqctl", self.tool_script("rabbitmqctl"), 0o700)

    def node(self):
        """What the server and rabbitmqctl must agree on."""
        return {
            "HOME": self.home / "home",
            "RABBITMQ_NODENAME": "tenantry@localhost",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_MNESIA_BASE": self.home / "data",
            "RABBITMQ_LOG_BASE": self.home / "log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.home / "enabled_plugins",
            "RABBITMQ_DIST_PORT": self.port("RABBITMQ_DISTRIBUTION_PORT"),
            "ERL_EPMD_PORT": self.port("EPMD_PORT"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def environment(self):
        return self.node() | {
            "RABBITMQ_CONFIG_FILE": self.home / "rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": "/dev/null/none",
            "RABBITMQ_NODE_PORT": self.port("AMQP_PORT"),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            # "Allow input" makes the script become the node instead of keeping it as a child, so that a signal to the
            # part reaches the node itself; -noinput then takes the input away again.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                "-noinput -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
        }

    def command(self):
        return [BINARIES / "rabbitmq-server"]

    def tool_script(self, tool):
        # It would start an epmd where none runs; if it does all the same, the mark lets the next start find it.
        environment = self.node() | {"RABBITMQ_CTL_ERL_ARGS": "-start_epmd false", MARK: self.stack.local}
        exports = [f"export {key}={shlex.quote(str(value))}" for key, value in environment.items()]
        return "\n".join(["#!/bin/sh", *exports, f'exec {BINARIES / tool} "$@"']) + "\n"

    def ready(self):
        url = f"http://127.0.0.1:{self.port('RABBITMQ_MANAGEMENT_PORT')}/api/permissions/tenantry/{USER}"
        status, text = ask(url, user=(USER, self.stack.secret("rabbitmq")))
        if status != 200:
            return f"{url} answers {status} {text[:200]}"
        return None if answers("127.0.0.1", self.port("AMQP_PORT")) else "its AMQP port does not answer"

    def adopt(self):
        parsed = urllib.parse.urlsplit(self.stack.given("AMQP_URL"))
        port = parsed.port or (5671 if parsed.scheme == "amqps" else 5672)
        if not answers(parsed.hostname, port):
            raise SystemExit(f"AMQP_URL is given, but nothing answers at {parsed.hostname}:{port}")

    def exports(self):
        if url := self.stack.given("AMQP_URL"):
            return {"AMQP_URL": url, "RABBITMQ_MANAGEMENT_URL": self.stack.environ.get("RABBITMQ_MANAGEMENT_URL", "")}
        who = f"{USER}:{self.stack.secret('rabbitmq')}"
        return {
            "AMQP_URL": f"amqp://{who}@127.0.0.1:{self.port('AMQP_PORT')}/tenantry",
            "RABBITMQ_MANAGEMENT_URL": f"http://{who}@127.0.0.1:{self.port('RABBITMQ_MANAGEMENT_PORT')}",
        }
