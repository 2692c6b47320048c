"""etcd: where the API server keeps its objects."""

from part import Part, serves


class Etcd(Part):
    name = "etcd"
    ports = ("ETCD_PORT", "ETCD_PEER_PORT")
    given = "TENANTRY_KUBECONFIG"
    profiles = ("test", "full", "region")
    tools = ("etcd",)

    def command(self):
        client = f"http://127.0.0.1:{self.port('ETCD_PORT')}"
        peer = f"http://127.0.0.1:{self.port('ETCD_PEER_PORT')}"
        return [
            self.stack.bin / "etcd", "--name=local", f"--data-dir={self.home / 'data'}",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=local={peer}",
            # A killed process loses nothing by this, only a machine that loses power does.
            "--unsafe-no-fsync", "--log-level=warn",
        ]

    def ready(self):
        return serves(f"http://127.0.0.1:{self.port('ETCD_PORT')}/health")
