"""The load balancer: addresses for Services of type LoadBalancer, which kwok's nodes have nobody to give."""

import sys
from pathlib import Path

from part import Part, serves

PROGRAM = Path(__file__).resolve().parents[1] / "load_balancer.py"


class LoadBalancer(Part):
    name = "load-balancer"
    ports = ("LOAD_BALANCER_PORT",)
    after = ("kube-apiserver",)
    given = "TENANTRY_KUBECONFIG"
    profiles = ("test", "full", "region")

    def prepare(self):
        self.files["program"] = PROGRAM.read_text()  # an edited one is started anew

    def command(self):
        config = self.stack.local / "kube-apiserver" / "load-balancer.kubeconfig"
        return [sys.executable, "-B", PROGRAM, config, self.port("LOAD_BALANCER_PORT")]

    def ready(self):
        return serves(f"http://127.0.0.1:{self.port('LOAD_BALANCER_PORT')}/healthz")
