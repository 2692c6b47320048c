"""kube-controller-manager: Deployments, Jobs, quotas, namespaces, garbage collection."""

from part import Part, serves


class KubeControllerManager(Part):
    name = "kube-controller-manager"
    ports = ("KUBE_CONTROLLER_MANAGER_PORT",)
    after = ("kube-apiserver",)
    given = "TENANTRY_KUBECONFIG"
    profiles = ("test", "full", "region")
    tools = ("kubernetes",)

    def command(self):
        api = self.stack.local / "kube-apiserver"
        config = api / "kube-controller-manager.kubeconfig"
        return [
            self.stack.bin / "kube-controller-manager", f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}",
            "--bind-address=127.0.0.1", f"--secure-port={self.port('KUBE_CONTROLLER_MANAGER_PORT')}",
            f"--cert-dir={self.home}", "--leader-elect=false", "--use-service-account-credentials",
            f"--service-account-private-key-file={api / 'pki' / 'service-account.key'}",
            f"--root-ca-file={api / 'pki' / 'ca.crt'}",
            # The defaults (20 and 30) would make many tenants at once wait for this client, not for the cluster.
            "--kube-api-qps=200", "--kube-api-burst=400",
        ]

    def ready(self):
        return serves(f"https://127.0.0.1:{self.port('KUBE_CONTROLLER_MANAGER_PORT')}/healthz")
