import io
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import provision  # noqa: E402


class Answers:
    """An API that gives one prepared answer after the other."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def call(self, method, path, body=None, headers=None):
        self.asked.append((method, path, headers))
        return self.answers.pop(0)


def status(tenant, *phases, run="running"):
    return 200, {"tenant": {"status": tenant}, "run": {"status": run}, "percent": 10, "phases": list(phases)}


class Provision(unittest.TestCase):
    def setUp(self):
        provision.POLL = 0

    def test_each_change_is_shown_once(self):
        running = {"name": "P", "state": "running", "operations": [{"name": "a", "state": "done"}]}
        waiting = {"name": "P", "state": "waiting", "waitingOn": "pods 0/1", "operations": [{"name": "a", "state": "done"}]}
        done = {"name": "P", "state": "done"}
        out = io.StringIO()
        api = Answers(status("PROVISIONING", running), status("PROVISIONING", running), status("PROVISIONING", waiting),
                      status("PROVISIONING", waiting), status("ACTIVE", done, run="succeeded"))
        self.assertIsNone(provision.follow(api, out=out))
        told = [line.split("  ")[-1] for line in out.getvalue().splitlines()]
        self.assertEqual(told, ["P running", "P: a done", "P waiting", "P waits for pods 0/1", "P done"])

    def test_a_failure_names_the_error_and_what_to_do(self):
        failed = {"name": "P", "state": "failed", "error": {"code": "quota", "message": "no room", "nextAction": "make room"}}
        said = provision.follow(Answers(status("FAILED", failed, run="failed")), out=io.StringIO())
        self.assertIn("quota no room", said)
        self.assertIn("make room", said)

    def test_a_run_that_is_stuck_ends_the_watch(self):
        self.assertIn("stuck", provision.follow(Answers(status("PROVISIONING", run="stuck")), out=io.StringIO()))

    def test_a_sparse_answer_is_no_crash(self):
        api = Answers((200, {"tenant": {"status": "PROVISIONING"}}), (200, {"tenant": {"status": "ACTIVE"}, "run": None}))
        self.assertIsNone(provision.follow(api, out=io.StringIO()))

    def test_an_existing_tenant_is_not_created_again(self):
        api = Answers((200, {"status": "PROVISIONING"}))
        self.assertEqual(provision.find_or_create(api), "PROVISIONING")
        self.assertEqual(len(api.asked), 1)

    def test_a_deleted_one_is(self):
        api = Answers((200, {"status": "DELETED"}), (202, {}))
        self.assertEqual(provision.find_or_create(api), "CREATED")
        self.assertIn("Idempotency-Key", api.asked[1][2])

    def test_a_refusal_is_told(self):
        api = Answers((404, {}), (422, {"code": "invalid_request", "detail": "no", "errors": [{"field": "slug"}]}))
        with self.assertRaisesRegex(SystemExit, "invalid_request no"):
            provision.find_or_create(api)


if __name__ == "__main__":
    unittest.main()
