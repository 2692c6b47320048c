"""What stands in for Loki, Tempo and the tenants' collectors, whose pods are simulated: see infra/local/telemetry.py."""

import sys
from pathlib import Path

from part import Part, serves

PROGRAM = Path(__file__).resolve().parents[1] / "telemetry.py"


class Telemetry(Part):
    name = "telemetry"
    ports = ("TELEMETRY_PORT",)
    after = ("kube-apiserver",)
    given = "TENANTRY_KUBECONFIG"
    tools = ("otelcol",)

    def url(self):
        return f"http://127.0.0.1:{self.port('TELEMETRY_PORT')}"

    def prepare(self):
        self.files["program"] = PROGRAM.read_text()  # an edited one is started anew

    def command(self):
        config = self.stack.local / "kube-apiserver" / "telemetry.kubeconfig"
        return [sys.executable, "-B", PROGRAM, config, self.stack.bin / "otelcol", self.home, self.port("TELEMETRY_PORT")]

    def ready(self):
        return serves(f"{self.url()}/healthz")

    def exports(self):
        if self.stack.given(self.given):
            # The tenants' own Services, and the platform's.
            return {"COLLECTOR_URL": "http://otel-collector.{namespace}.svc:4318", "LOKI_URL": "", "TEMPO_URL": ""}
        return {"COLLECTOR_URL": f"{self.url()}/collectors/{{namespace}}", "LOKI_URL": f"{self.url()}/loki",
                "TEMPO_URL": f"{self.url()}/tempo"}
