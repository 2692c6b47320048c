import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import load_balancer  # noqa: E402


def service(uid, namespace="a", kind="LoadBalancer", ip=None, deleting=False):
    found = {"metadata": {"uid": uid, "name": uid, "namespace": namespace, "creationTimestamp": f"2026-01-01T00:00:0{uid}Z"},
             "spec": {"type": kind}, "status": {"loadBalancer": {"ingress": [{"ip": ip}]} if ip else {}}}
    if deleting:
        found["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    return found


def namespace(name, **labels):
    return {"metadata": {"name": name, "labels": {f"tenantry.test/{key.replace('_', '-')}": v for key, v in labels.items()}}}


def given(services, *namespaces):
    return [(found["metadata"]["uid"], ip) for found, ip in load_balancer.decide(services, namespaces or [namespace("a")])]


class LoadBalancer(unittest.TestCase):
    def test_the_lowest_free_address_is_given_first(self):
        held = [service("1", ip="198.18.0.1"), service("3", ip="198.18.0.3")]
        self.assertEqual(given([*held, service("5"), service("4")]), [("4", "198.18.0.2"), ("5", "198.18.0.4")])

    def test_an_address_is_held_until_its_service_is_gone(self):
        leaving = service("1", ip="198.18.0.1", deleting=True)
        self.assertEqual(given([leaving, service("2")]), [("2", "198.18.0.2")])
        self.assertEqual(given([service("2")]), [("2", "198.18.0.1")])

    def test_others_get_none_and_lose_what_they_held(self):
        self.assertEqual(given([service("1", kind="ClusterIP"), service("2", deleting=True)]), [])
        self.assertEqual(given([service("1", kind="ClusterIP", ip="198.18.0.1")]), [("1", None)])

    def test_a_namespace_may_be_denied_one(self):
        asked = [service("1", namespace="x-no-address")]
        self.assertEqual(given(asked, namespace("x-no-address")), [])
        self.assertEqual(given(asked, namespace("x-no-address", no_address="false")), [("1", "198.18.0.1")])
        self.assertEqual(given([service("1")], namespace("a", no_address="true")), [])

    def test_a_namespace_not_known_yet_may_be_one_of_those(self):
        self.assertEqual(given([service("1", namespace="b")], namespace("a")), [])

    def test_an_older_event_does_not_undo_what_was_written(self):
        known = load_balancer.Known(None, "/api/v1/services", threading.Event())
        old, written = service("1"), service("1", ip="198.18.0.1")
        old["metadata"]["resourceVersion"], written["metadata"]["resourceVersion"] = "9", "10"
        known.objects["1"] = old
        known.keep(written)
        self.assertEqual(load_balancer.newer(known.all()[0], old), written)
        self.assertEqual(given([*known.all(), service("2")]), [("2", "198.18.0.2")])


if __name__ == "__main__":
    unittest.main()
