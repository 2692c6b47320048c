"""kwok: simulated nodes and pods. Scheduling, quotas and readiness are real; containers do not run."""

import json
import os
import subprocess
import time
from pathlib import Path

from part import Part, serves

NODES = 5
STAGES = Path(__file__).resolve().parents[1] / "kwok" / "stages.yaml"


class Kwok(Part):
    name = "kwok"
    ports = ("KWOK_PORT",)
    after = ("kube-apiserver",)
    given = "TENANTRY_KUBECONFIG"
    bound = 120
    profiles = ("test", "full", "region")
    tools = ("kwok",)

    def prepare(self):
        self.file("stages.yaml", STAGES.read_text())

    def command(self):
        return [
            self.stack.bin / "kwok", "--kubeconfig", self.stack.local / "kube-apiserver" / "kwok.kubeconfig",
            "--config", self.home / "stages.yaml", "--manage-all-nodes", "--cidr=10.244.0.0/16", "--node-ip=10.0.0.1",
            "--node-lease-duration-seconds=40", f"--server-address=127.0.0.1:{self.port('KWOK_PORT')}",
        ]

    def environment(self):
        # kwok looks for more configuration in the user's home.
        return {"HOME": self.home}

    def ready(self):
        return serves(f"http://127.0.0.1:{self.port('KWOK_PORT')}/healthz")

    def finish(self):
        nodes = {"apiVersion": "v1", "kind": "List", "items": [node(number) for number in range(1, NODES + 1)]}
        self.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=tenantry-local", "-f", "-",
                     text=json.dumps(nodes))
        end = time.monotonic() + self.bound
        while True:
            states = self.kubectl("get", "nodes", "-o",
                                  'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}').split()
            if states.count("True") >= NODES:
                return
            if time.monotonic() > end:
                raise SystemExit(f"only {states.count('True')} of {NODES} simulated nodes are ready; see {self.log}")
            time.sleep(0.2)

    def kubectl(self, *words, text=None):
        env = os.environ | {"KUBECONFIG": str(self.stack.local / "kubeconfig")}
        done = subprocess.run([self.stack.bin / "kubectl", "--request-timeout=60s", *words], env=env, input=text,
                              capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"kubectl {words[0]} failed: {done.stderr.strip()}")
        return done.stdout


def node(number):
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": f"node-{number}",
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"kubernetes.io/hostname": f"node-{number}", "kubernetes.io/os": "linux",
                       "kubernetes.io/arch": "amd64", "type": "kwok"},
        },
        "status": {name: {"cpu": "32", "memory": "128Gi", "pods": "110"} for name in ("capacity", "allocatable")},
    }
