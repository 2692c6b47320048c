"""kube-scheduler: puts pods on the simulated nodes."""

from part import Part, serves


class KubeScheduler(Part):
    name = "kube-scheduler"
    ports = ("KUBE_SCHEDULER_PORT",)
    after = ("kube-apiserver",)
    given = "TENANTRY_KUBECONFIG"
    profiles = ("test", "full", "region")
    tools = ("kubernetes",)

    def prepare(self):
        # The client's limits can only be set in a file.
        self.file("config.yaml", f"""\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {{leaderElect: false}}
clientConnection:
  kubeconfig: "{self.stack.local / 'kube-apiserver' / 'kube-scheduler.kubeconfig'}"
  qps: 200
  burst: 400
""")

    def command(self):
        config = self.stack.local / "kube-apiserver" / "kube-scheduler.kubeconfig"
        return [
            self.stack.bin / "kube-scheduler", f"--config={self.home / 'config.yaml'}",
            f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}",
            "--bind-address=127.0.0.1", f"--secure-port={self.port('KUBE_SCHEDULER_PORT')}", f"--cert-dir={self.home}",
        ]

    def ready(self):
        return serves(f"https://127.0.0.1:{self.port('KUBE_SCHEDULER_PORT')}/healthz")
