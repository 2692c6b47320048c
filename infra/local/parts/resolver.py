"""The resolver: BIND's named, which finds every name under matih.ai by the parent's real referral, tenants' own domains under
`example` at the parent too, and nothing else.

A referral carries no port, and most resolvers then ask port 53, which takes root and a free port 53. named asks on the
port that it is told to use for everything.
"""

import shutil
from pathlib import Path

from part import Part, executable
from parts.powerdns import PARENT, ZONE
from ports import answers

SERVER = Path("/usr/sbin/named")


class Resolver(Part):
    name = "resolver"
    ports = ("DNS_PORT",)
    given = "RESOLVER_ADDR"

    def needs(self):
        return [(executable(SERVER), "bind9")]

    def prepare(self):
        # A copy, because AppArmor's profile of the installed one lets it read nothing below this folder.
        copy = self.home / "named"
        self.home.mkdir(parents=True, exist_ok=True)
        if not copy.exists() or copy.stat().st_mtime_ns != SERVER.stat().st_mtime_ns:
            copy.unlink(missing_ok=True)
            shutil.copy2(SERVER, copy)
        self.files["named"] = str(SERVER.stat().st_mtime_ns)
        # A root of its own, empty: no question leaves the machine.
        self.file("root.zone", "$TTL 1\n@ SOA localhost. hostmaster.localhost. 1 60 30 600 1\n@ NS localhost.\n"
                               "localhost A 127.0.0.1\n")
        self.file("named.conf", f"""\
options {{
  directory "{self.home}";
  port {self.port("DNS_PORT")};
  listen-on {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  pid-file none;
  session-keyfile none;
  recursion yes;
  allow-query {{ 127.0.0.0/8; }};
  allow-recursion {{ 127.0.0.0/8; }};
  dnssec-validation no;
  empty-zones-enable no;
  notify no;
  qname-minimization off;
  resolver-query-timeout 3000;
  max-cache-size 16m;
  // What changes is seen at once. Zero would make named forget name servers while it asks them.
  max-cache-ttl 1;
  max-ncache-ttl 0;
  lame-ttl 0;
  servfail-ttl 0;
  prefetch 0;
}};
controls {{ }};
logging {{
  channel here {{ stderr; severity notice; }};
  category default {{ here; }};
}};
zone "." {{ type primary; file "root.zone"; }};
zone "{ZONE}" {{ type static-stub; server-addresses {{ {PARENT}; }}; }};
zone "example" {{ type static-stub; server-addresses {{ {PARENT}; }}; }};
""")

    def command(self):
        return [self.home / "named", "-f", "-4", "-n", "2", "-c", self.home / "named.conf"]

    def address(self):
        return self.stack.given("RESOLVER_ADDR") or f"127.0.0.1:{self.port('DNS_PORT')}"

    def ready(self):
        return None if answers("127.0.0.1", self.port("DNS_PORT")) else "its port does not answer"

    def exports(self):
        return {"RESOLVER_ADDR": self.address()}
