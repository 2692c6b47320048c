"""cert-manager: its own controllers as one process, and the ClusterIssuer that proves names by DNS-01.

A tenant's zone allows the updates by its metadata (TSIG-ALLOW-DNSUPDATE); one that names another key there has its
challenges refused.
"""

import base64
import hashlib
import json
import time
from pathlib import Path

import cluster
from part import Part, ask, serves
from parts.powerdns import TSIG_KEY, ChildDns

ISSUER = "letsencrypt-prod-dns01"
NAMESPACE = "cert-manager"


class CertManager(Part):
    name = "cert-manager"
    ports = ("CERT_MANAGER_PORT",)
    after = ("kube-apiserver", "pebble", "child-dns")
    given = "TENANTRY_KUBECONFIG"
    bound = 120
    tools = ("cert-manager-controllers",)

    def command(self):
        values = self.stack.values
        return [
            self.stack.bin / "cert-manager-controllers", f"--cluster-resource-namespace={NAMESPACE}",
            f"--dns01-recursive-nameservers={values['RESOLVER_ADDR']}",
            f"--health=127.0.0.1:{self.port('CERT_MANAGER_PORT')}",
            f"--acme-root={values['ACME_ROOTS_URL']}", f"--acme-ca={values['ACME_CA_FILE']}",
            # An hour by default, too long to watch what a mended zone does.
            "--certificate-backoff=10s", "-v=2",
        ]

    def environment(self):
        return {"KUBECONFIG": self.stack.local / "kube-apiserver" / "cert-manager.kubeconfig"}

    def ready(self):
        return serves(f"http://127.0.0.1:{self.port('CERT_MANAGER_PORT')}/healthz")

    def finish(self):
        api = cluster.Cluster(self.stack)
        api.apply("/api/v1/namespaces/" + NAMESPACE, {"apiVersion": "v1", "kind": "Namespace",
                                                      "metadata": {"name": NAMESPACE}})
        api.apply(f"/api/v1/namespaces/{NAMESPACE}/secrets/{TSIG_KEY}", {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": TSIG_KEY, "namespace": NAMESPACE},
            "data": {"secret": base64.b64encode(ChildDns(self.stack).tsig().encode()).decode()}})
        path = "/apis/cert-manager.io/v1/clusterissuers/" + ISSUER
        api.apply(path, self.issuer())
        end = time.monotonic() + self.bound
        while True:
            found = json.loads(api.get(path))
            conditions = found.get("status", {}).get("conditions") or [{}]
            # With another root it is ready with an account that the ACME server has forgotten since.
            known = found["metadata"].get("annotations", {}).get("tenantry.test/acme-root")
            if known == self.root() and any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions):
                return
            if time.monotonic() > end:
                raise SystemExit(f"ClusterIssuer {ISSUER} is not ready: {conditions[0].get('message')}; see {self.log}")
            time.sleep(0.1)

    def root(self):
        """The digest of the ACME server's root certificate, as the controllers' program writes it."""
        _, text = ask(self.stack.values["ACME_ROOTS_URL"], ca=self.stack.values["ACME_CA_FILE"])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def issuer(self):
        values = self.stack.values
        return {
            "apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": ISSUER},
            "spec": {"acme": {
                "email": "platform@matih.ai", "server": values["ACME_DIRECTORY_URL"],
                "caBundle": base64.b64encode(Path(values["ACME_CA_FILE"]).read_bytes()).decode(),
                "privateKeySecretRef": {"name": ISSUER + "-account"},
                "solvers": [{
                    # Else cert-manager waits a minute per challenge for caches that are not there. The two names of a
                    # certificate are proven one after the other under one name, which the resolver remembers for 1 s.
                    "waitInsteadOfSelfCheck": "2s",
                    # The challenge of a tenant's own domain stands in the tenant's zone.
                    "dns01": {"cnameStrategy": "Follow", "rfc2136": {
                        "nameserver": values["DNS_ADDR"], "tsigKeyName": TSIG_KEY, "tsigAlgorithm": "HMACSHA256",
                        "tsigSecretSecretRef": {"name": TSIG_KEY, "key": "secret"}}},
                }],
            }},
        }
