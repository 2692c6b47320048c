import base64
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import proof  # noqa: E402
import provision  # noqa: E402

REFERRAL = """\
;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1
;; flags: qr; QUERY: 1, ANSWER: 0, AUTHORITY: 2, ADDITIONAL: 3

;; OPT PSEUDOSECTION:
; EDNS: version: 0, flags:; udp: 1232
;; AUTHORITY SECTION:
acme.matih.ai.\t60\tIN\tNS\tns1.matih.ai.
acme.matih.ai.\t60\tIN\tNS\tns2.matih.ai.

"""
ANSWER = """\
;; flags: qr aa; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1

;; ANSWER SECTION:
acme.matih.ai.\t60\tIN\tA\t198.18.0.1
"""
VALUES = {name: "127.0.0.1:1" for name in ("PARENT_DNS_ADDR", "DNS_ADDR", "RESOLVER_ADDR", "KAFKA_BROKERS")}
TENANT = {"slug": "acme", "id": "1f", "tier": "professional", "region": "eastus", "adminEmail": "admin@acme.example"}


class Proofs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        stack = SimpleNamespace(root=self.root, local=self.root, bin=self.root, given=lambda _: None)
        self.proof = proof.Proof(stack, VALUES, TENANT)

    def names(self, *phases):
        return [part.__name__ for part in self.proof.parts(phases)]

    def test_only_what_the_plan_has_is_proved(self):
        self.assertEqual(self.names("CREATE_NAMESPACE"), ["event", "letter"])
        self.assertEqual(self.names("PROVISIONING_INFRASTRUCTURE", "CREATE_NAMESPACE"), ["own_instance", "event", "letter"])
        self.assertEqual(self.names("CREATE_NAMESPACE", "CREATE_DNS_ZONE"), ["referral", "addresses", "event", "letter"])
        self.assertEqual(self.names("CREATE_NAMESPACE", "CREATE_TENANT_INGRESS"), ["certificate", "event", "letter"])
        self.assertEqual(self.names("CREATE_BOOTSTRAP_USER"), ["nothing_in_the_cluster", "event", "letter", "invitation"])

    def test_an_object_in_the_cluster_is_named(self):
        self.proof.kubectl = lambda *words: "pods\n" if words[0] == "api-resources" else "pod/mine\n"
        with self.assertRaisesRegex(proof.NotProved, "pod/mine"):
            next(self.proof.nothing_in_the_cluster())
        self.proof.kubectl = lambda *words: "pods\n" if words[0] == "api-resources" else ""
        self.assertIn("no object of acme", next(self.proof.nothing_in_the_cluster()))

    def test_a_tenant_lives_in_one_place(self):
        self.proof.kubectl = lambda *_: ""
        self.proof.sql = lambda *_: "region_eastus|tenant_1f\n"
        self.assertEqual(self.proof.home(), ("the region's", "region_eastus", "tenant_1f", "none"))
        self.proof.sql = lambda *_: ""
        with self.assertRaisesRegex(proof.NotProved, "0 places"):
            self.proof.home()

    def enterprise(self):
        """The proof of an enterprise tenant, whose Secrets hold what their keys say."""
        encoded = base64.b64encode(b"7").decode()
        values = {key: encoded for key in ("POSTGRES_HOST", "POSTGRES_PORT", "password")}
        self.proof.tenant = TENANT | {"tier": "enterprise"}
        self.proof.kubectl = lambda *words: json.dumps({"data": values}) if "secret" in words else ""

    def test_an_enterprise_tenant_lives_on_its_own_server(self):
        self.enterprise()
        self.proof.sql = lambda database, query, at: "tenant_1f|public\n" if (database, at["PORT"]) == ("postgres", "7") else ""
        self.assertEqual(self.proof.home(), ("7:7", "tenant_1f", "public", "none"))

    def test_the_regions_own_server_is_not_an_instance_of_its_own(self):
        self.enterprise()

        def sql(identifiers, held):
            return lambda database, query, at: identifiers[at is None] if "identifier" in query else held

        self.proof.sql = sql(("1", "2"), "tenant_1f\n")
        self.assertEqual(len(list(self.proof.own_instance())), 2)
        self.proof.sql = sql(("1", "1"), "tenant_1f\n")
        with self.assertRaisesRegex(proof.NotProved, "is its region's"):
            list(self.proof.own_instance())
        self.proof.sql = sql(("1", "2"), "tenant_1f\ntenant_2f\n")
        with self.assertRaisesRegex(proof.NotProved, "tenant_2f"):
            list(self.proof.own_instance())

    def test_a_referral_names_servers_and_no_address(self):
        self.proof.run = lambda *_: REFERRAL
        self.assertIn("ns1.matih.ai., ns2.matih.ai.", next(self.proof.referral()))

    def test_an_answer_is_no_referral(self):
        self.proof.run = lambda *_: ANSWER
        with self.assertRaisesRegex(proof.NotProved, "no referral"):
            next(self.proof.referral())

    def services(self, *addresses):
        ingress = ",".join(f'{{"ip": "{address}"}}' for address in addresses)
        return f'{{"items": [{{"spec": {{"type": "LoadBalancer"}}, "status": {{"loadBalancer": {{"ingress": [{ingress}]}}}}}}]}}'

    def test_the_addresses_are_the_load_balancers(self):
        self.proof.kubectl = lambda *_: self.services("198.18.0.1")
        self.proof.run = lambda *words: ANSWER if "+norec" in words else ANSWER.replace("qr aa", "qr rd ra")
        self.assertEqual(len(list(self.proof.addresses())), 2)
        self.proof.kubectl = lambda *_: self.services("198.18.0.2")
        with self.assertRaisesRegex(proof.NotProved, "not the load balancer's"):
            list(self.proof.addresses())

    def test_what_cannot_be_proved_is_told(self):
        self.proof.stack.bin = self.root / "none"
        out = io.StringIO()
        phases = {"CREATE_NAMESPACE", "CREATE_TENANT_INGRESS"}
        failed = proof.prove(self.proof.stack, VALUES, TENANT, phases, out)
        self.assertIn("NOT proved", failed)


class Times(unittest.TestCase):
    def test_each_phase_has_its_time(self):
        status = {"phases": [{"name": "A", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:02.500Z"},
                             {"name": "B", "startedAt": None}]}
        self.assertEqual([line.split() for line in provision.times(status)], [["2.5", "s", "A"], ["–", "B"]])

    def test_a_table_is_as_wide_as_it_must_be(self):
        self.assertEqual(list(provision.table([("a", "long"), ("longer", "b")])), ["a       long", "longer  b"])
        times = {"provisioningStartedAt": "2026-01-01T00:00:00Z", "provisioningCompletedAt": "2026-01-01T00:00:02.500Z"}
        self.assertEqual([provision.took(times), provision.took({})], ["2.5 s", "–"])

    def test_what_is_simulated_is_said_where_it_applies(self):
        ours, theirs = SimpleNamespace(given=lambda _: None), SimpleNamespace(given=lambda name: name)
        self.assertIn("kwok", "".join(provision.simulated(ours, set())))
        self.assertNotIn("Pebble", "".join(provision.simulated(ours, set())))
        self.assertIn("Pebble", "".join(provision.simulated(ours, {"CREATE_TENANT_INGRESS"})))
        self.assertEqual("".join(provision.simulated(theirs, {"CREATE_TENANT_INGRESS"})), "")


if __name__ == "__main__":
    unittest.main()
