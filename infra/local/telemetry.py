#!/usr/bin/env python3
"""Loki, Tempo and the tenants' collectors, where nodes are simulated and none of them can run; a process of the local stack.

    telemetry.py KUBECONFIG OTELCOL FOLDER PORT     healthy on http://127.0.0.1:PORT/healthz

    /collectors/NAMESPACE/v1/…      a tenant's collector: a real one, started from the configuration that the API server
                                    has in the tenant's namespace, at the first request, and ended when nobody asks for long
    /loki/…, /tempo/…               OTLP over HTTP in, and what SETUP_OBSERVABILITY asks out, by tenant; the last of it, in memory
"""

import collections
import http.client
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

from api_server import Cluster

COLLECTOR, KEY = "otel-collector", "relay"
IDLE = 15  # seconds that a collector runs without a request
LISTENS_WITHIN = 30  # seconds
KEPT = 500  # requests, of each system
SELECTION = re.compile(r'\{namespace="([^"]+)"\}(?: \|= "([^"]+)")?')


class Refused(Exception):
    def __init__(self, status, why):
        super().__init__(why)
        self.status = status


class Collector:
    """A real collector of one tenant."""

    def __init__(self, program, folder, version, configuration, outlets):
        self.version, self.used = version, time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "collector.yaml"
        config.write_text(configuration)
        self.http, grpc, health = free_ports(3)
        environment = os.environ | outlets | {
            "OTLP_HTTP_ENDPOINT": f"127.0.0.1:{self.http}", "OTLP_GRPC_ENDPOINT": f"127.0.0.1:{grpc}",
            "HEALTH_ENDPOINT": f"127.0.0.1:{health}", "OTLP_ENCODING": "json", "OTLP_COMPRESSION": "none",
            "BATCH_TIMEOUT": "50ms",
        }
        # Of this process's group, which supervisord ends as one.
        self.process = subprocess.Popen([program, f"--config={config}"], env=environment, stdin=subprocess.DEVNULL)
        end = time.monotonic() + LISTENS_WITHIN
        while not listens(self.http):
            if self.process.poll() is not None or time.monotonic() > end:
                self.end()
                raise Refused(503, "the collector does not listen; see this part's log")
            time.sleep(0.05)

    def lives(self):
        return self.process.poll() is None

    def end(self):
        self.process.kill()
        self.process.wait()


class Collectors:
    """Of all tenants that were asked for of late."""

    def __init__(self, cluster, program, folder, outlets):
        self.cluster, self.program, self.folder, self.outlets = cluster, program, folder, outlets
        self.running, self.locks, self.lock = {}, collections.defaultdict(threading.Lock), threading.Lock()

    def of(self, namespace):
        with self.lock:
            alone = self.locks[namespace]
        with alone:
            version, configuration = self.configuration(namespace)
            found = self.running.get(namespace)
            if found is None or found.version != version or not found.lives():
                if found:
                    found.end()
                found = Collector(self.program, self.folder / namespace, version, configuration, self.outlets)
                self.running[namespace] = found
            found.used = time.monotonic()
            return found

    def configuration(self, namespace):
        """As the pod would mount it. Without pods that are ready, its Service would have nobody to send to."""
        ready = self.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{COLLECTOR}")
        if not ready.get("status", {}).get("readyReplicas"):
            raise Refused(503, f"Service {COLLECTOR}.{namespace} has no pod that is ready")
        found = self.get(f"/api/v1/namespaces/{namespace}/configmaps/{COLLECTOR}")
        if KEY not in found.get("data", {}):
            raise Refused(503, f"ConfigMap {namespace}/{COLLECTOR} has no key {KEY}")
        return found["metadata"]["resourceVersion"], found["data"][KEY]

    def get(self, path):
        try:
            return self.cluster.get(path)
        except (OSError, http.client.HTTPException) as problem:
            raise Refused(503, str(problem)) from None

    def reap(self):
        while True:
            time.sleep(IDLE / 3)
            for namespace, found in list(self.running.items()):
                with self.locks[namespace]:
                    if time.monotonic() - found.used > IDLE and self.running.get(namespace) is found:
                        found.end()
                        del self.running[namespace]


class System:
    """What Loki or Tempo was sent: the tenant's name and OTLP as JSON."""

    def __init__(self):
        self.kept = collections.deque(maxlen=KEPT)

    def take(self, tenant, content):
        if not tenant:
            raise Refused(401, "no org id")  # as both say it where tenants are told apart
        self.kept.append((tenant, json.loads(content)))

    def of(self, tenant, part):
        return [resource for whose, content in list(self.kept) if whose == tenant for resource in content.get(part, [])]


def attributes(resource):
    found = resource.get("resource", {}).get("attributes", [])
    return {one["key"]: one["value"].get("stringValue", "") for one in found}


def streams(loki, tenant, query):
    """Loki's answer to a selection by the label `namespace`, and a word that the line has in it."""
    found = SELECTION.fullmatch(query)
    if not found:
        raise Refused(400, f"parse error: {query}")
    namespace, word = found.groups()
    result = []
    for resource in loki.of(tenant, "resourceLogs"):
        labels = attributes(resource)
        records = [record for scope in resource.get("scopeLogs", []) for record in scope.get("logRecords", [])]
        values = [[record.get("timeUnixNano", "0"), body] for record in records
                  if (word or "") in (body := record.get("body", {}).get("stringValue", ""))]
        if labels.get("namespace") == namespace and values:
            result.append({"stream": {label.replace(".", "_"): value for label, value in labels.items()}, "values": values})
    return {"status": "success", "data": {"resultType": "streams", "result": result}}


def trace(tempo, tenant, trace_id):
    """Tempo's answer for one trace."""
    batches = [resource for resource in tempo.of(tenant, "resourceSpans")
               if any(span.get("traceId") == trace_id for scope in resource.get("scopeSpans", [])
                      for span in scope.get("spans", []))]
    if not batches:
        raise Refused(404, "trace not found")
    return {"batches": batches}


def free_ports(count):
    """That nobody has at this moment. Should somebody take one before the collector does, it ends and the next has others."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    collectors, loki, tempo = None, System(), System()

    def do_GET(self):
        self.answer(self.asked)

    def do_POST(self):
        self.answer(self.sent)

    def asked(self, path, query, tenant, _):
        match path:
            case ["healthz"]:
                return {}
            case ["loki", "loki", "api", "v1", "query_range"]:
                return streams(self.loki, tenant, query.get("query", [""])[0])
            case ["tempo", "api", "traces", trace_id]:
                return trace(self.tempo, tenant, trace_id)
        raise Refused(404, "no such path")

    def sent(self, path, _, tenant, body):
        match path:
            case ["collectors", namespace, "v1", signal_name]:
                self.hand_over(self.collectors.of(namespace), signal_name, body)
            case ["loki", "otlp", "v1", "logs"]:
                self.loki.take(tenant, body)
            case ["tempo", "v1", "traces"]:
                self.tempo.take(tenant, body)
            case _:
                raise Refused(404, "no such path")
        return {}

    def hand_over(self, collector, signal_name, body):
        connection = http.client.HTTPConnection("127.0.0.1", collector.http, timeout=10)
        try:
            kind = self.headers.get("Content-Type", "application/json")
            connection.request("POST", f"/v1/{signal_name}", body, {"Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise Refused(answer.status, text.decode(errors="replace"))

    def answer(self, how):
        url = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            status, said = 200, how(url.path.strip("/").split("/"), urllib.parse.parse_qs(url.query),
                                    self.headers.get("X-Scope-OrgID"), body)
        except Refused as refused:
            status, said = refused.status, {"error": str(refused)}
        except (OSError, ValueError, KeyError, http.client.HTTPException) as problem:
            status, said = 500, {"error": str(problem)}
        text = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def main():
    kubeconfig, program, folder, port = sys.argv[1:]
    here = f"http://127.0.0.1:{port}"
    outlets = {"LOKI_ENDPOINT": f"{here}/loki/otlp", "TEMPO_ENDPOINT": f"{here}/tempo"}
    Handler.collectors = Collectors(Cluster(kubeconfig, "tenantry-telemetry"), program, Path(folder), outlets)
    threading.Thread(target=Handler.collectors.reap, daemon=True).start()
    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
