"""The Prometheus operator: makes StatefulSets and their configuration of the tenants' Prometheus and Alertmanager."""

from part import Part, serves


class PrometheusOperator(Part):
    name = "prometheus-operator"
    ports = ("PROMETHEUS_OPERATOR_PORT",)
    after = ("kube-apiserver",)
    given = "TENANTRY_KUBECONFIG"
    tools = ("prometheus-operator",)

    def command(self):
        return [
            self.stack.bin / "prometheus-operator",
            f"--web.listen-address=127.0.0.1:{self.port('PROMETHEUS_OPERATOR_PORT')}",
            # It would keep a list of kubelets, which simulated nodes have none of.
            "--kubelet-endpoints=false", "--log-level=warn",
        ]

    def environment(self):
        return {"KUBECONFIG": self.stack.local / "kube-apiserver" / "prometheus-operator.kubeconfig"}

    def ready(self):
        return serves(f"http://127.0.0.1:{self.port('PROMETHEUS_OPERATOR_PORT')}/healthz")
