"""Calls to an API server, for the processes of the local stack that work in the cluster."""

import base64
import http.client
import json
import ssl
import urllib.parse


class Cluster:
    """The API server of a kubeconfig written by the stack."""

    def __init__(self, kubeconfig, agent):
        with open(kubeconfig) as file:
            config = json.load(file)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.address = urllib.parse.urlsplit(cluster["server"])
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.context = ssl.create_default_context(cadata=authority)
        self.headers = {"Authorization": f"Bearer {user['token']}", "User-Agent": agent}

    def open(self, method, path, body=None, kind=None, timeout=15):
        connection = http.client.HTTPSConnection(self.address.hostname, self.address.port, context=self.context,
                                                 timeout=timeout)
        headers = self.headers | ({"Content-Type": kind} if kind else {})
        connection.request(method, path, body=body, headers=headers)
        return connection, connection.getresponse()

    def get(self, path):
        connection, answer = self.open("GET", path)
        try:
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(f"GET {path} answers {answer.status} {text[:200]!r}")
        return json.loads(text)

    def set_status(self, service, status):
        """The Service as it is now; None when it has changed meanwhile or is gone."""
        found = service["metadata"]
        path = f"/api/v1/namespaces/{found['namespace']}/services/{found['name']}/status"
        body = {"metadata": {"resourceVersion": found["resourceVersion"], "uid": found["uid"]}, "status": status}
        connection, answer = self.open("PATCH", path, json.dumps(body), "application/merge-patch+json")
        try:
            text = answer.read()
        finally:
            connection.close()
        if answer.status in (404, 409, 422):
            return None
        if answer.status != 200:
            raise OSError(f"PATCH {path} answers {answer.status} {text[:200]!r}")
        return json.loads(text)
