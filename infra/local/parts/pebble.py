"""Pebble: the ACME server that stands in for Let's Encrypt. It validates by DNS, through the resolver, and forgets all at
a restart, its root certificate too."""

import hashlib
import json

import pki
from part import Part, ask, serves


class Pebble(Part):
    name = "pebble"
    ports = ("ACME_PORT", "ACME_MANAGEMENT_PORT")
    after = ("resolver",)
    given = "ACME_DIRECTORY_URL"
    tools = ("pebble",)

    def needs(self):
        return [pki.installed()]

    def prepare(self):
        pki.make(self.home / "pki", "pebble", "DNS:localhost,IP:127.0.0.1")
        self.file("pebble.json", json.dumps({"pebble": {
            "listenAddress": f"127.0.0.1:{self.port('ACME_PORT')}",
            "managementListenAddress": f"127.0.0.1:{self.port('ACME_MANAGEMENT_PORT')}",
            "certificate": str(self.home / "pki" / "server.crt"), "privateKey": str(self.home / "pki" / "server.key"),
            # Where it would look for HTTP-01 and TLS-ALPN-01, which nobody answers here.
            "httpPort": 5002, "tlsPort": 5001,
            "ocspResponderURL": "", "externalAccountBindingRequired": False,
            "retryAfter": {"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa",
            "profiles": {"default": {"description": "as Let's Encrypt's", "validityPeriod": 90 * 24 * 3600}},
        }}, indent=1) + "\n")

    def command(self):
        return [self.stack.bin / "pebble", "-strict", "-config", self.home / "pebble.json",
                "-dnsserver", self.stack.values["RESOLVER_ADDR"]]

    def environment(self):
        # It validates at once and every time, and refuses no nonce by chance.
        return {"PEBBLE_VA_NOSLEEP": 1, "PEBBLE_AUTHZREUSE": 0, "PEBBLE_WFE_NONCEREJECT": 0}

    def authority(self):
        return self.stack.given("ACME_CA_FILE") or self.home / "pki" / "ca.crt"

    def roots_url(self):
        return self.stack.given("ACME_ROOTS_URL") or f"https://127.0.0.1:{self.port('ACME_MANAGEMENT_PORT')}/roots/0"

    def url(self):
        return self.stack.given("ACME_DIRECTORY_URL") or f"https://127.0.0.1:{self.port('ACME_PORT')}/dir"

    def ready(self):
        return serves(self.url(), ca=self.authority()) or serves(self.roots_url(), ca=self.authority())

    def adopt(self):
        for name in ("ACME_ROOTS_URL", "ACME_CA_FILE"):
            if not self.stack.given(name):
                raise SystemExit(f"{self.given} is given; give {name} too")

    def finish(self):
        """Keeps every root there has been: certificates of an earlier one are still good."""
        status, root = ask(self.roots_url(), ca=self.authority())
        if status != 200:
            raise SystemExit(f"{self.roots_url()} answers {status} {root[:200]}")
        self.stack.write(self.home / "roots" / f"{hashlib.sha256(root.encode()).hexdigest()[:16]}.pem", root)

    def exports(self):
        return {"ACME_DIRECTORY_URL": self.url(), "ACME_ROOTS_URL": self.roots_url(), "ACME_CA_FILE": self.authority()}
