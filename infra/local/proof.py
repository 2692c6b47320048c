"""What the world outside says of a tenant: name servers, the cluster, the event bus, the mailbox. Nothing here asks our own
tables, and each thing is proved only where the tenant's plan has the phase that makes it.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from part import ask

DOMAIN = "matih.ai"
LABEL = "matih.ai/tenant-id"
BOUND = 60  # seconds for what arrives after the tenant is ACTIVE


class NotProved(Exception):
    """What was expected, what was found, and where."""


class Proof:
    def __init__(self, stack, values, tenant):
        self.stack, self.values, self.tenant = stack, values, tenant
        self.name = f"{tenant['slug']}.{DOMAIN}"
        self.namespace = f"matih-{tenant['slug']}"

    def parts(self, phases):
        """The proofs that apply, as functions that yield lines; in the order of the phases."""
        found = []
        if "PROVISIONING_INFRASTRUCTURE" in phases:
            found.append(self.own_instance)
        if "CREATE_DNS_ZONE" in phases:
            found += [self.referral, self.addresses]
        if "CREATE_TENANT_INGRESS" in phases:
            found.append(self.certificate)
        if "CREATE_NAMESPACE" not in phases:
            found.append(self.nothing_in_the_cluster)
        found += [self.event, self.letter]
        if "CREATE_BOOTSTRAP_USER" in phases:
            found.append(self.invitation)
        return found

    def referral(self):
        answer = self.dig("PARENT_DNS_ADDR", self.name)
        servers = sorted(words[4] for words in answer["AUTHORITY"] if words[0] == self.name + "." and words[3] == "NS")
        if "aa" in answer["flags"] or answer["ANSWER"] or not servers:
            raise NotProved(f"the parent at {self.values['PARENT_DNS_ADDR']}, asked for {self.name} with +norec, gives no "
                            f"referral: {answer}")
        yield f"the parent ({self.values['PARENT_DNS_ADDR']}, +norec) refers {self.name} to {', '.join(servers)}"

    def addresses(self):
        services = json.loads(self.kubectl("-n", self.namespace, "get", "services", "-o", "json"))["items"]
        held = [ingress["ip"] for service in services if service["spec"].get("type") == "LoadBalancer"
                for ingress in service.get("status", {}).get("loadBalancer", {}).get("ingress") or []]
        if not held:
            raise NotProved(f"no Service of {self.namespace} holds a load balancer's address")
        names = [self.name, *(f"{label}.{self.name}" for label in ("api", "bi", "anything-else"))]
        for server, flag in (("DNS_ADDR", "aa"), ("RESOLVER_ADDR", "ra")):
            for name in names:
                answer = self.dig(server, name, recurse=server == "RESOLVER_ADDR")
                found = sorted(words[4] for words in answer["ANSWER"] if words[3] == "A")
                if found != sorted(held) or flag not in answer["flags"]:
                    raise NotProved(f"{self.values[server]} answers {found} for {name}, not the load balancer's {held}")
        yield f"the child ({self.values['DNS_ADDR']}, +norec) answers {held[0]} for {', '.join(names[:3])} and *.{self.name}"
        yield f"a resolver ({self.values['RESOLVER_ADDR']}) finds the same by the parent's referral"

    def certificate(self):
        secret = f"{self.tenant['slug']}-tls-certificate"
        found = json.loads(self.kubectl("-n", self.namespace, "get", "secret", secret, "-o", "json"))
        with tempfile.TemporaryDirectory() as folder:
            chain, roots = Path(folder) / "chain.pem", Path(folder) / "roots.pem"
            chain.write_bytes(base64.b64decode(found["data"]["tls.crt"]))
            roots.write_text(self.roots())
            for name in (self.name, f"anything.{self.name}"):
                self.run("openssl", "verify", "-CAfile", roots, "-untrusted", chain, "-purpose", "sslserver",
                         "-verify_hostname", name, chain)
        yield f"the Secret {secret} holds a chain from the ACME server's root, good for {self.name} and *.{self.name}"

    def roots(self):
        """The ACME server's root now, and those it had before: Pebble has another one at each start."""
        status, text = ask(self.values["ACME_ROOTS_URL"], ca=self.values["ACME_CA_FILE"])
        if status != 200:
            raise NotProved(f"{self.values['ACME_ROOTS_URL']} answers {status} {text[:200]}")
        earlier = (file.read_text() for file in sorted((self.stack.local / "pebble" / "roots").glob("*.pem")))
        return "\n".join([text, *earlier])

    def event(self):
        consumer = self.stack.bin / "kafka-console-consumer"
        if self.stack.given("KAFKA_BROKERS") or not consumer.exists():
            yield f"the event at {self.values['KAFKA_BROKERS']} is not looked at: Kafka is given"
            return
        command = [consumer, "--bootstrap-server", self.values["KAFKA_BROKERS"], "--topic", "tenantry.tenants",
                   "--from-beginning", "--timeout-ms", "2500", "--property", "print.headers=true",
                   "--property", "print.key=true"]

        def arrived():
            # It ends by its own time-out, with a status that says so.
            told = subprocess.run([str(word) for word in command], capture_output=True, text=True).stdout
            return any(self.tenant["id"] in line and "tenant.provisioned" in line for line in told.splitlines())

        until(arrived, f"no event tenant.provisioned of {self.tenant['id']} in Kafka's topic tenantry.tenants")
        yield "Kafka's topic tenantry.tenants holds the event tenant.provisioned with the tenant's id"

    def letter(self):
        return self.arrived("is ready")

    def invitation(self):
        return self.arrived(f"https://{self.name}/invitation/")

    def arrived(self, word):
        if not (mailbox := self.values.get("MAILBOX_URL")):
            yield "the e-mail is not looked at: SMTP_URL is given without MAILBOX_URL"
            return
        address = self.tenant["adminEmail"]

        def found():
            status, text = ask(mailbox + "/email")
            letters = json.loads(text) if status == 200 else []
            # After a restart the mailbox reads its mails from their files, which hold no envelope.
            return [letter["subject"] for letter in letters
                    if any(to["address"] == address for to in letter["envelope"]["to"] or letter.get("to") or [])
                    and self.tenant["slug"] in (letter["subject"] + (letter.get("text") or "")).lower()
                    and word in letter["subject"] + (letter.get("text") or "")]

        subjects = until(found, f"no e-mail with '{word}' to {address} in {mailbox}")
        yield f"the mailbox holds \"{subjects[-1]}\" to {address}"

    def nothing_in_the_cluster(self):
        kinds = self.kubectl("api-resources", "--verbs=list", "--output=name").split()
        found = self.kubectl("get", ",".join(kinds), "--all-namespaces", f"--selector={LABEL}={self.tenant['id']}",
                             "--ignore-not-found", "--output=name").split()
        if found:
            raise NotProved(f"the cluster holds {', '.join(found)} of {self.tenant['slug']}")
        yield f"the cluster holds no object of {self.tenant['slug']}, of {len(kinds)} kinds"

    def own_instance(self):
        """That an enterprise tenant's Postgres is another server than its region's, and has the tenant's database."""
        question = "SELECT system_identifier FROM pg_control_system()"
        own, regions = (self.sql(database, question, at).strip() for database, at in
                        (("postgres", self.instance()), (self.shared(), None)))
        if own == regions:
            raise NotProved(f"{self.tenant['slug']}'s Postgres is its region's: both have the system identifier {own}")
        held = self.sql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'tenant_%'", self.instance()).split()
        if held != [f"tenant_{self.tenant['id']}"]:
            raise NotProved(f"{self.tenant['slug']}'s own Postgres holds {held or 'no database of a tenant'}")
        at = self.instance()
        yield f"{at['HOST']}:{at['PORT']} is a Postgres of its own: system identifier {own}, its region's is {regions}"
        yield "it holds the tenant's database and no other tenant's"

    def instance(self):
        """Where an enterprise tenant's own Postgres is, as its Secret says, and its administrator; none of any other."""
        if self.tenant["tier"] != "enterprise":
            return None

        def value(namespace, name, key):
            found = json.loads(self.kubectl("-n", namespace, "get", "secret", name, "-o", "json"))
            return base64.b64decode(found["data"][key]).decode()

        place = {name: value(self.namespace, "tenant-database-credentials", f"POSTGRES_{name}") for name in ("HOST", "PORT")}
        password = value("matih-system", f"infrastructure-{self.tenant['id']}", "password")
        return place | {"ADMIN_USER": "tenantry_admin", "ADMIN_PASSWORD": password}

    def shared(self):
        return "region_" + self.tenant["region"].replace("-", "_")

    def home(self):
        """Where the tenant lives, as Postgres and the cluster say: its server, its database, its schema, its namespace."""
        role = f"'\"tenant_{self.tenant['id']}\"'::regrole"
        at = self.instance()
        told = self.sql("postgres" if at else self.shared(), f"SELECT current_database(), nspname FROM pg_namespace WHERE nspowner = {role} "
                                f"UNION ALL SELECT datname, 'public' FROM pg_database WHERE datdba = {role}", at)
        places = [line.split("|") for line in told.splitlines()]
        spaces = self.kubectl("get", "namespaces", f"--selector={LABEL}={self.tenant['id']}",
                              "--output=jsonpath={.items[*].metadata.name}")
        if len(places) != 1:
            raise NotProved(f"{self.tenant['slug']} has {len(places)} places in Postgres: {told.strip() or 'none'}")
        server = ":".join(at[name] for name in ("HOST", "PORT")) if at else "the region's"
        return (server, *places[0], spaces.strip() or "none")

    def sql(self, database, query, at=None):
        """The rows of a query as a server's administrator, the regions' unless told, a line each. The password goes by the
        environment.
        """
        at = at or {name: str(self.values[f"REGION_DATABASE_{name}"]) for name in ("HOST", "PORT", "ADMIN_USER", "ADMIN_PASSWORD")}
        known = os.environ | {"PGPASSWORD": at["ADMIN_PASSWORD"], "PGCONNECT_TIMEOUT": "5"}
        return self.run(psql(), "-X", "-At", "-h", at["HOST"], "-p", at["PORT"], "-U", at["ADMIN_USER"], "-d", database,
                        "-c", query, env=known)

    def dig(self, server, name, recurse=False):
        """Flags and the records of each section, as lists of words."""
        host, port = self.values[server].rsplit(":", 1)
        told = self.run("dig", f"@{host}", "-p", port, "+tries=3", "+time=3", "+noall", "+comments", "+answer", "+authority",
                        *(() if recurse else ("+norec",)), name, "A")
        return sections(told)

    def kubectl(self, *words):
        return self.run(self.stack.bin / "kubectl", f"--kubeconfig={self.values['KUBECONFIG']}", *words)

    def run(self, *command, env=None):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=env)
        if done.returncode:
            raise NotProved(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()[-500:]}")
        return done.stdout


def psql():
    """Debian's own front end, or the newest version's program."""
    return shutil.which("psql") or max(Path("/usr/lib/postgresql").glob("*/bin/psql"), default="psql")


def sections(told):
    """dig's answer with comments: the header's flags, and the records by section."""
    found, section = {"flags": [], "ANSWER": [], "AUTHORITY": []}, None
    for line in told.splitlines():
        if line.startswith(";; flags:"):
            found["flags"] = line.removeprefix(";; flags:").split(";")[0].split()
        elif line.startswith(";;"):
            section = line.split()[1] if line.endswith("SECTION:") else None
        elif line and not line.startswith(";") and section in found:
            found[section].append(line.split())
    return found


def until(look, otherwise):
    """What `look` finds; it is asked again until it finds something."""
    end = time.monotonic() + BOUND
    while not (found := look()):
        if time.monotonic() > end:
            raise NotProved(f"{otherwise} after {BOUND} s")
        time.sleep(0.5)
    return found


def prove(stack, values, tenant, phases, out):
    """Prints what is proved; None, or what could not be."""
    parts = Proof(stack, values, tenant).parts(phases)
    if parts:
        print("\nproved from outside:", file=out)
    for part in parts:
        try:
            for line in part():
                print(f"  {line}", file=out, flush=True)
        except (NotProved, OSError, ValueError, KeyError) as problem:
            return f"NOT proved: {problem}"
    return None
