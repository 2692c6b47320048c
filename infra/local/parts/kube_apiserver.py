"""kube-apiserver: the real API, with RBAC, the default admission plugins and an audit log."""

import base64
import json
import os

import crds
import pki
from cluster import Cluster
from part import Part, serves

CONTROL_PLANE = "matih-system"
# name in the cluster, groups; each has a generated token.
USERS = {
    "admin": ("tenantry-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kwok": ("kwok", "system:masters"),
    "load-balancer": ("load-balancer", "system:masters"),
    "telemetry": ("telemetry", "system:masters"),
    "cert-manager": ("cert-manager", "system:masters"),
    "prometheus-operator": ("prometheus-operator", "system:masters"),
}

# Who called what, without the cluster's own machinery, which would bury it.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [system:apiserver, system:kube-controller-manager, system:kube-scheduler, system:anonymous, kwok, load-balancer,
    telemetry, cert-manager, prometheus-operator]
- level: None
  userGroups: ["system:serviceaccounts:kube-system"]
- level: Metadata
"""


class KubeApiserver(Part):
    name = "kube-apiserver"
    ports = ("KUBE_APISERVER_PORT",)
    after = ("etcd",)
    given = "TENANTRY_KUBECONFIG"
    profiles = ("test", "full", "region")
    bound = 120
    tools = ("kubernetes",)
    fetches = ("crds",)
    stop_wait = 30

    def needs(self):
        return [pki.installed()]

    def url(self):
        return f"https://127.0.0.1:{self.port('KUBE_APISERVER_PORT')}"

    def beforehand(self):
        """How to get to it, which our own programs read when they start; they need no answer then."""
        make_certificates(self.home / "pki")
        authority = base64.b64encode((self.home / "pki" / "ca.crt").read_bytes()).decode()
        for key in USERS:
            path = self.stack.local / "kubeconfig" if key == "admin" else self.home / f"{key}.kubeconfig"
            self.stack.write(path, kubeconfig(self.url(), authority, key, self.stack.secret(f"token {key}")))

    def prepare(self):
        lines = [f'{self.stack.secret(f"token {key}")},{user},{key},"{groups}"' for key, (user, groups) in USERS.items()]
        self.file("tokens.csv", "\n".join(lines) + "\n")
        self.file("audit-policy.yaml", AUDIT_POLICY)

    def command(self):
        made = self.home / "pki"
        return [
            self.stack.bin / "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self.port('ETCD_PORT')}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
            f"--secure-port={self.port('KUBE_APISERVER_PORT')}",
            f"--tls-cert-file={made / 'server.crt'}", f"--tls-private-key-file={made / 'server.key'}",
            f"--cert-dir={self.home / 'made'}",
            f"--token-auth-file={self.home / 'tokens.csv'}", "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={made / 'service-account.pub'}",
            f"--service-account-signing-key-file={made / 'service-account.key'}",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--audit-policy-file={self.home / 'audit-policy.yaml'}",
            f"--audit-log-path={self.stack.local / 'logs' / 'audit.log'}", "--audit-log-maxsize=200",
            "--audit-log-maxbackup=1",
        ]

    def ready(self):
        return serves(f"{self.url()}/readyz", ca=self.home / "pki" / "ca.crt")

    def finish(self):
        crds.install(self.stack)
        # The control plane's own namespace, where its Secrets of the tenants' are.
        Cluster(self.stack).apply(f"/api/v1/namespaces/{CONTROL_PLANE}", {
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CONTROL_PLANE}})

    def adopt(self):
        if not os.path.isfile(self.stack.given("TENANTRY_KUBECONFIG")):
            raise SystemExit(f"TENANTRY_KUBECONFIG={self.stack.given('TENANTRY_KUBECONFIG')} is no file")

    def exports(self):
        given = self.stack.given("TENANTRY_KUBECONFIG")
        return {"KUBECONFIG": os.path.abspath(given) if given else self.stack.local / "kubeconfig"}


def kubeconfig(server, authority, user, token):
    """JSON, which every reader of YAML reads."""
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "tenantry",
        "clusters": [{"name": "tenantry", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "tenantry", "context": {"cluster": "tenantry", "user": user}}],
    }, indent=1) + "\n"


def make_certificates(folder):
    """The server's certificate, and before it the keys that service accounts' tokens are signed with."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "service-account.pub").exists():
        pki.openssl(folder, "genrsa", "-out", "service-account.key", "2048")
        pki.openssl(folder, "rsa", "-in", "service-account.key", "-pubout", "-out", "service-account.pub")
    pki.make(folder, "kube-apiserver", "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,"
             "IP:127.0.0.1,IP:10.96.0.1")
