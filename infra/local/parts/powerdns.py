"""PowerDNS: two authoritative servers, so that a tenant's delegation is a real referral from one to the other."""

import base64
import json
import sqlite3
from pathlib import Path

from part import Part, ask, executable
from ports import answers

SERVER = Path("/usr/sbin/pdns_server")
SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
# A referral names servers and carries no port: the servers and the resolver have addresses of their own and one port.
PARENT, CHILD = "127.0.0.2", "127.0.0.3"
ZONE = "matih.ai."
# "ns" and digits are no tenant's slug, so these names can never be delegated away.
ADDRESSES = {"ns0.matih.ai.": PARENT, "ns1.matih.ai.": CHILD, "ns2.matih.ai.": CHILD}
TSIG_KEY, TSIG_ALGORITHM = "tenantry-acme", "hmac-sha256"
TTL = 60  # seconds


class PowerDns(Part):
    address = ""
    http = ""  # its HTTP port in ports.env
    dns_variable = ""

    def __init__(self, stack):
        super().__init__(stack)
        self.ports = (self.http,)
        self.elsewhere = ((self.address, "DNS_PORT"),)

    def needs(self):
        return [(executable(SERVER), "pdns-server"), (SCHEMA.exists() or None, "pdns-backend-sqlite3")]

    def prepare(self):
        (self.home / "run").mkdir(parents=True, exist_ok=True)
        database = self.home / "zones.sqlite3"
        if not database.exists():
            fresh = self.home / "zones.new"
            fresh.unlink(missing_ok=True)
            made = sqlite3.connect(fresh)
            made.executescript(SCHEMA.read_text())
            made.close()
            fresh.rename(database)
        settings = {
            "launch": "gsqlite3", "gsqlite3-database": database,
            # A killed process loses nothing by this, only a machine that loses power does.
            "gsqlite3-pragma-synchronous": 0, "gsqlite3-pragma-foreign-keys": "yes",
            "local-address": self.address, "local-port": self.port("DNS_PORT"), "socket-dir": self.home / "run",
            "api": "yes", "api-key": self.key(), "webserver": "yes", "webserver-address": "127.0.0.1",
            "webserver-port": self.port(self.http), "webserver-allow-from": "127.0.0.1", "webserver-loglevel": "none",
            # Which key may update a zone is said by the zone's metadata.
            "dnsupdate": "yes", "allow-dnsupdate-from": "127.0.0.0/8",
            "default-ttl": TTL, "default-soa-content": f"ns1.{ZONE} hostmaster.@ 0 60 30 600 {TTL}",
            # What is written is served at once.
            "cache-ttl": 0, "negquery-cache-ttl": 0, "query-cache-ttl": 0, "zone-cache-refresh-interval": 0,
            "guardian": "no", "daemon": "no", "write-pid": "no", "security-poll-suffix": "", "loglevel": 4,
        }
        self.file("pdns.conf", "".join(f"{name}={value}\n" for name, value in settings.items()))

    def command(self):
        return [SERVER, f"--config-dir={self.home}"]

    def key(self):
        return self.stack.given("PDNS_API_KEY") or self.stack.secret("pdns_api_key")

    def url(self):
        return (self.stack.given(self.given) or f"http://127.0.0.1:{self.port(self.http)}").rstrip("/")

    def dns(self):
        return self.stack.given(self.dns_variable) or f"{self.address}:{self.port('DNS_PORT')}"

    def call(self, method, path, body=None):
        """Status and text of a call below the server's root in the HTTP API."""
        return ask(f"{self.url()}/api/v1/servers/localhost{path}", method=method, body=body,
                   headers={"X-API-Key": self.key()}, timeout=10)

    def must(self, method, path, body=None):
        status, text = self.call(method, path, body)
        if not 200 <= status < 300:
            raise SystemExit(f"{self.name}: {method} {path} answers {status} {text.strip()[:300]}")
        return text

    def ready(self):
        status, text = self.call("GET", "")
        if status != 200:
            return f"{self.url()} answers {status} {text.strip()[:200]}"
        host, port = self.dns().rsplit(":", 1)
        return None if answers(host, int(port)) else f"{host}:{port} does not answer"

    def adopt(self):
        for name in ("PDNS_API_KEY", self.dns_variable, "RESOLVER_ADDR"):
            if not self.stack.given(name):
                raise SystemExit(f"{self.given} is given; give {name} too")
        if problem := self.ready():
            raise SystemExit(f"{self.given} is given, but {problem}")
        self.finish()


class ParentDns(PowerDns):
    """The platform's own zone: its name servers, and one day the tenants' delegations."""

    name = "parent-dns"
    address = PARENT
    http = "PARENT_PDNS_PORT"
    given = "PARENT_PDNS_URL"
    dns_variable = "PARENT_DNS_ADDR"

    def finish(self):
        """Makes the zone where it is missing; a given server's own zone is left as it is."""
        status, text = self.call("GET", f"/zones/{ZONE}?rrsets=false")
        if status == 200:
            return
        if status != 404:
            raise SystemExit(f"{self.name}: looking for {ZONE} answers {status} {text.strip()[:300]}")
        records = [rrset(ZONE, "NS", "ns0.matih.ai."),
                   rrset(ZONE, "SOA", f"ns0.matih.ai. hostmaster.{ZONE} 1 60 30 600 {TTL}"),
                   *(rrset(name, "A", address) for name, address in ADDRESSES.items())]
        self.must("POST", "/zones", {"name": ZONE, "kind": "Native", "nameservers": [], "rrsets": records})

    def exports(self):
        return {"PARENT_PDNS_URL": self.url(), "PARENT_DNS_ADDR": self.dns()}


class ChildDns(PowerDns):
    """The tenants' zones; it starts without any."""

    name = "child-dns"
    address = CHILD
    http = "PDNS_PORT"
    given = "PDNS_URL"
    dns_variable = "DNS_ADDR"

    def finish(self):
        status, text = self.call("GET", f"/tsigkeys/{TSIG_KEY}.")
        if status == 200:
            return
        if status != 404:
            raise SystemExit(f"{self.name}: looking for the key {TSIG_KEY} answers {status} {text.strip()[:300]}")
        secret = base64.b64encode(bytes.fromhex(self.stack.secret("tsig"))).decode()
        self.must("POST", "/tsigkeys", {"name": TSIG_KEY, "algorithm": TSIG_ALGORITHM, "key": secret})

    def tsig(self):
        """The key's secret as the server has it."""
        return json.loads(self.must("GET", f"/tsigkeys/{TSIG_KEY}."))["key"]

    def exports(self):
        return {"PDNS_URL": self.url(), "PDNS_API_KEY": self.key(), "DNS_ADDR": self.dns()}


def rrset(name, kind, content):
    return {"name": name, "type": kind, "ttl": TTL, "records": [{"content": content, "disabled": False}]}
