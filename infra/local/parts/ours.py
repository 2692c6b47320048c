"""Our own servers as plain processes: tenant-api, dispatcher, event-relay, tenant-service; and what all our programs are told."""

import base64
import hashlib
import os
import subprocess

import pki
from part import Part, serves
from supervisor import MARK


class Ours(Part):
    """A server of the workspace. A rebuilt binary restarts it. None needs the cluster to start: a tenant of the pooled
    instance has nothing there, and a phase that does waits for it.
    """

    profiles = ("full",)
    after = ("postgres",)
    stop_wait = 30
    listens = ""  # its port in ports.env

    def __init__(self, stack):
        super().__init__(stack)
        self.ports = (self.listens,)

    def package(self):
        return self.stack.root / "functions" / self.name

    def wanted(self):
        return (self.package() / "Cargo.toml").exists()

    def binary(self):
        return self.stack.target / "debug" / self.name

    def programs(self):
        return [self.binary()]

    def prepare(self):
        found = self.binary().stat()
        self.files["binary"] = f"{found.st_mtime_ns} {found.st_size}"

    def address(self):
        return f"127.0.0.1:{self.port(self.listens)}"

    def environment(self):
        """Without what makes and opens licences, and the job broker's administrator, which few need."""
        known = {name: value for name, value in told(self.stack).items() if name not in (*KEYS, JOB_BROKER, *STATE)}
        return known | {"LISTEN": self.address()}

    def command(self):
        return [self.binary()]

    def ready(self):
        return serves(f"http://{self.address()}/readyz")


class TenantApi(Ours):
    name = "tenant-api"
    listens = "TENANT_API_PORT"

    def before_start(self):
        """It is the first of ours, and the control plane's schema has to be there before any of them."""
        Dispatcher(self.stack).migrate()

    def exports(self):
        return {"TENANT_API_URL": f"http://{self.address()}",
                "TENANT_API_INTERNAL_SECRET": self.stack.secret("tenant_api_internal"),
                "LICENSE_PUBLIC_KEYS": f"local={pki.ed25519_public(key(self.stack, 'license_signing'))}"}

    def environment(self):
        # The tenants' own instances are simulated: this one stands in for them.
        return super().environment() | {"LICENSE_PUBLIC_KEYS": self.stack.values["LICENSE_PUBLIC_KEYS"],
                                        "LICENSE_DIR": self.home / "licenses", "STAND_IN": "true",
                                        "STAND_IN_DIR": self.home / "stand-in",
                                        "POOL_DATABASE_URL": self.stack.values["POOL_DATABASE_URL"]}


class Dispatcher(Ours):
    name = "dispatcher"
    listens = "DISPATCHER_HEALTH_PORT"
    after = (*Ours.after, "rabbitmq", "tenant-api", "functions")

    def __init__(self, stack):
        super().__init__(stack)
        if stack.invoker() == "embedded":
            self.tools = ("helm",)  # which it looks for when it connects the phases

    def environment(self):
        environment = told(self.stack) | {"HEALTH_LISTEN": self.address(), "AMQP_URL": self.stack.values["AMQP_URL"]}
        return environment

    def exports(self):
        return {"LICENSE_SIGNING_KEY": key(self.stack, "license_signing"),
                "LICENSE_KEY_ENCRYPTION_KEY": key(self.stack, "license_key_encryption")}

    def migrate(self):
        """Brings the control plane's schema up to date, before any server starts."""
        environment = os.environ | {name: str(value) for name, value in self.environment().items()}
        environment[MARK] = str(self.stack.local)
        done = subprocess.run([self.binary(), "migrate"], env=environment, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL)
        if done.returncode:
            raise SystemExit(f"dispatcher migrate failed: {(done.stderr or done.stdout).strip()[-2000:]}")


class EventRelay(Ours):
    """Needs the database only: what it delivers to may come later, or be down."""

    name = "event-relay"
    listens = "EVENT_RELAY_HEALTH_PORT"
    after = ("postgres", "tenant-api")

    def environment(self):
        values, known = self.stack.values, told(self.stack)
        mine = ("DATABASE_URL", "DATABASE_DIRECT_URL", "TENANTRY_CONFIG", "PATH", "RUST_LOG", "KUBECONFIG",
                "TENANT_API_INTERNAL_SECRET", "LICENSE_KEY_ENCRYPTION_KEY")
        return {name: known[name] for name in mine} | {
            "HEALTH_LISTEN": self.address(), "KAFKA_BROKERS": values["KAFKA_BROKERS"], "SMTP_URL": values["SMTP_URL"],
        }


class TenantService(Ours):
    name = "tenant-service"
    listens = "API_PORT"
    after = (*Ours.after, "dispatcher")

    def environment(self):
        # It seals invitations.
        key_encryption = told(self.stack)["LICENSE_KEY_ENCRYPTION_KEY"]
        return super().environment() | {"LICENSE_KEY_ENCRYPTION_KEY": key_encryption}

    def exports(self):
        return {"API_URL": f"http://{self.address()}", "ADMIN_TOKEN": self.stack.secret("admin_token")}


# What makes licences, and opens them.
KEYS = ("LICENSE_SIGNING_KEY", "LICENSE_KEY_ENCRYPTION_KEY")


# Where Terraform keeps what it knows, and what opens that.
STATE = ("TERRAFORM_STATE_URL", "TERRAFORM_STATE_KEY")


# The job broker's management API, with its administrator's login: for whoever makes the tenants' users there.
JOB_BROKER = "RABBITMQ_MANAGEMENT_URL"


def key(stack, name):
    """32 bytes in base64, from a generated secret."""
    return base64.b64encode(hashlib.sha256(stack.secret(name).encode()).digest()).decode()


def told(stack):
    """The environment of every program of ours. Only the dispatcher is told of the runs' RabbitMQ."""
    values = stack.values
    return {
        "DATABASE_URL": values["DATABASE_URL"],
        "DATABASE_DIRECT_URL": values["DATABASE_URL"],
        "TENANTRY_CONFIG": values["TENANTRY_CONFIG"],
        "KUBECONFIG": values["KUBECONFIG"],
        "TENANT_API_INTERNAL_SECRET": values["TENANT_API_INTERNAL_SECRET"],
        "REGION_DATABASE_ADMIN_PASSWORD": values["REGION_DATABASE_ADMIN_PASSWORD"],
        "ADMIN_TOKEN": values["ADMIN_TOKEN"],
        "PDNS_API_KEY": values["PDNS_API_KEY"],
        **{name: values[name] for name in (*KEYS, JOB_BROKER, *STATE)},
        "INVOKER": stack.invoker(),
        "LAMBDA_ENDPOINT": values["LAMBDA_ENDPOINT"],
        "PATH": f"{stack.bin}:{os.environ['PATH']}",
        # The Lambda client signs its calls; `cargo lambda watch` does not look at the signature.
        "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": "us-east-1",
        "RUST_LOG": os.environ.get("RUST_LOG", "info"),
    }
