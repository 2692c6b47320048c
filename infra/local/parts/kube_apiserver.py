"""kube-apiserver: the real API, with RBAC, the default admission plugins and an audit log."""

import base64
import json
import os
import subprocess

from part import Part, executable, serves

# name in the cluster, groups; each has a generated token.
USERS = {
    "admin": ("tenantry-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kwok": ("kwok", "system:masters"),
}

# Who called what, without the cluster's own machinery, which would bury it.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [system:apiserver, system:kube-controller-manager, system:kube-scheduler, system:anonymous, kwok]
- level: None
  userGroups: ["system:serviceaccounts:kube-system"]
- level: Metadata
"""


class KubeApiserver(Part):
    name = "kube-apiserver"
    ports = ("KUBE_APISERVER_PORT",)
    after = ("etcd",)
    given = "TENANTRY_KUBECONFIG"
    tools = ("kubernetes",)
    stop_wait = 30

    def needs(self):
        return [(any(executable(f"{folder}/openssl") for folder in os.get_exec_path()), "openssl")]

    def url(self):
        return f"https://127.0.0.1:{self.port('KUBE_APISERVER_PORT')}"

    def prepare(self):
        pki = self.home / "pki"
        pki.mkdir(parents=True, exist_ok=True)
        if not (pki / "server.crt").exists():
            make_certificates(pki)
        lines = [f'{self.stack.secret(f"token {key}")},{user},{key},"{groups}"' for key, (user, groups) in USERS.items()]
        self.file("tokens.csv", "\n".join(lines) + "\n")
        self.file("audit-policy.yaml", AUDIT_POLICY)
        authority = base64.b64encode((pki / "ca.crt").read_bytes()).decode()
        for key in USERS:
            path = self.stack.local / "kubeconfig" if key == "admin" else self.home / f"{key}.kubeconfig"
            self.stack.write(path, kubeconfig(self.url(), authority, key, self.stack.secret(f"token {key}")))

    def command(self):
        pki = self.home / "pki"
        return [
            self.stack.bin / "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self.port('ETCD_PORT')}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
            f"--secure-port={self.port('KUBE_APISERVER_PORT')}",
            f"--tls-cert-file={pki / 'server.crt'}", f"--tls-private-key-file={pki / 'server.key'}",
            f"--cert-dir={self.home / 'made'}",
            f"--token-auth-file={self.home / 'tokens.csv'}", "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki / 'service-account.pub'}",
            f"--service-account-signing-key-file={pki / 'service-account.key'}",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--audit-policy-file={self.home / 'audit-policy.yaml'}",
            f"--audit-log-path={self.stack.local / 'logs' / 'audit.log'}", "--audit-log-maxsize=200",
            "--audit-log-maxbackup=1",
        ]

    def ready(self):
        return serves(f"{self.url()}/readyz", ca=self.home / "pki" / "ca.crt")

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


def make_certificates(pki):
    """A private authority, the server's certificate (made last: it tells that the rest is there), the token keys."""
    names = "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.96.0.1"
    (pki / "server.ext").write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
    # A configuration of our own: the system's may lack, or say something else.
    (pki / "openssl.cnf").write_text("[req]\ndistinguished_name = name\nx509_extensions = authority\n[name]\n"
                                     "[authority]\nbasicConstraints = critical,CA:TRUE\nsubjectKeyIdentifier = hash\n"
                                     "keyUsage = critical,keyCertSign,cRLSign\n")
    env = os.environ | {"OPENSSL_CONF": str(pki / "openssl.cnf")}
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    steps = [
        ["genrsa", "-out", "service-account.key", "2048"],
        ["rsa", "-in", "service-account.key", "-pubout", "-out", "service-account.pub"],
        ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "3650", "-subj", "/CN=tenantry local"],
        ["req", "-new", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=kube-apiserver"],
        ["x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "3650",
         "-extfile", "server.ext", "-out", "server.crt"],
    ]
    for step in steps:
        done = subprocess.run(["openssl", *step], cwd=pki, env=env, capture_output=True, text=True, umask=0o077)
        if done.returncode:
            raise SystemExit(f"openssl {step[0]} failed: {done.stderr.strip()}")
