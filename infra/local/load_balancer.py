#!/usr/bin/env python3
"""Gives Services of type LoadBalancer their addresses, as a cloud's load balancer would; a process of the local stack.

    load_balancer.py KUBECONFIG PORT     healthy on http://127.0.0.1:PORT/healthz once it knows the cluster

An address belongs to one living Service. A new Service gets the lowest free one, so an address that was released is soon
somebody else's, and a record that still points at it shows. What is given is read from the Services themselves: nothing
is remembered here, and a restart changes nothing.

Bad cases are chosen per namespace: a Service in a namespace whose name ends in "-no-address" never gets one. The
namespace's label `tenantry.test/no-address` ("true" or "false") overrides that, at any time.
"""

import http.client
import http.server
import ipaddress
import json
import sys
import threading
import time

from api_server import Cluster

# RFC 2544's range for benchmarks, which no network of the world routes.
POOL = ipaddress.ip_network("198.18.0.0/15")
LABEL = "tenantry.test/no-address"
SUFFIX = "-no-address"
WATCH = 240  # seconds until a watch is begun anew
RETRY = 0.5  # seconds


class Known:
    """The objects of one kind, kept up to date by list and watch; `changed` is set whenever one of them changes."""

    def __init__(self, cluster, path, changed):
        self.cluster, self.path, self.changed = cluster, path, changed
        self.objects, self.lock, self.listed = {}, threading.Lock(), False

    def all(self):
        with self.lock:
            return list(self.objects.values())

    def follow(self):
        while True:
            try:
                self.watch(self.list())
            except (OSError, ValueError, KeyError, http.client.HTTPException) as problem:
                say(f"{self.path}: {problem}; trying again")
            time.sleep(RETRY)

    def list(self):
        answer = self.cluster.get(self.path)
        with self.lock:
            before, self.objects = self.objects, {}
            for item in answer["items"]:
                self.objects[item["metadata"]["uid"]] = newer(before.get(item["metadata"]["uid"]), item)
        self.listed = True
        self.changed.set()
        return answer["metadata"]["resourceVersion"]

    def watch(self, version):
        path = f"{self.path}?watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={WATCH}"
        # The server sends a bookmark about once a minute, so a longer silence is a lost connection.
        connection, answer = self.cluster.open("GET", path, timeout=150)
        try:
            while line := answer.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return  # too old a version: list again
                if event["type"] == "BOOKMARK":
                    continue
                item = event["object"]
                with self.lock:
                    if event["type"] == "DELETED":
                        self.objects.pop(item["metadata"]["uid"], None)
                    else:
                        self.objects[item["metadata"]["uid"]] = newer(self.objects.get(item["metadata"]["uid"]), item)
                self.changed.set()
        finally:
            connection.close()

    def keep(self, item):
        """Takes in what a write has answered, before the watch tells of it: its address is no longer free."""
        with self.lock:
            if item["metadata"]["uid"] in self.objects:
                self.objects[item["metadata"]["uid"]] = newer(self.objects[item["metadata"]["uid"]], item)


def newer(one, other):
    return one if one and version(one) > version(other) else other


def version(item):
    return int(item["metadata"]["resourceVersion"])


def address(service):
    """The address that a Service holds, or None."""
    given = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return given[0].get("ip") if given else None


def withheld(namespace, labels):
    """Whether Services of this namespace get no address."""
    return {"true": True, "false": False}.get(labels.get(LABEL), namespace.endswith(SUFFIX))


def decide(services, namespaces):
    """What is to be written: (Service, its address or None to take it away) pairs, the oldest Service first."""
    labels = {item["metadata"]["name"]: item["metadata"].get("labels") or {} for item in namespaces}
    taken, wanting, writes = set(), [], []
    for service in services:
        wants = service["spec"].get("type") == "LoadBalancer"
        held = address(service)
        if held and not wants:
            writes.append((service, None))
        elif held:
            # Two Services never hold one address; it is held until the Service is gone, finalizers and all.
            taken.add(held)
        elif wants and "deletionTimestamp" not in service["metadata"]:
            name = service["metadata"]["namespace"]
            if name in labels and not withheld(name, labels[name]):
                wanting.append(service)
    wanting.sort(key=lambda service: (service["metadata"]["creationTimestamp"], service["metadata"]["uid"]))
    free = (str(host) for host in POOL.hosts() if str(host) not in taken)
    return writes + list(zip(wanting, free))


def serve(cluster, services, namespaces, changed):
    while True:
        changed.wait()
        changed.clear()
        if not (services.listed and namespaces.listed):
            continue
        for service, ip in decide(services.all(), namespaces.all()):
            status = {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"}] if ip else None}}
            what = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
            try:
                written = cluster.set_status(service, status)
            except (OSError, http.client.HTTPException) as problem:
                say(f"{what}: {problem}; trying again")
                time.sleep(RETRY)
                changed.set()
                break
            if written:
                services.keep(written)
                say(f"{what} has {ip or 'no address'}")


def say(line):
    print(line, flush=True)


def main():
    cluster, changed = Cluster(sys.argv[1], "tenantry-load-balancer"), threading.Event()
    services = Known(cluster, "/api/v1/services", changed)
    namespaces = Known(cluster, "/api/v1/namespaces", changed)

    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            known = services.listed and namespaces.listed
            self.send_response(200 if known else 503)
            self.end_headers()

        def log_message(self, *_):
            pass

    health = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Health)
    for work in (services.follow, namespaces.follow, health.serve_forever):
        threading.Thread(target=work, daemon=True).start()
    serve(cluster, services, namespaces, changed)


if __name__ == "__main__":
    main()
