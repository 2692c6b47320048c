import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "tools")]
import stack  # noqa: E402
from starting import Beside, Start, startable  # noqa: E402


class Named(SimpleNamespace):
    __hash__ = object.__hash__


def part(name, *after, **more):
    return Named(name=name, after=after, **more)


class Startable(unittest.TestCase):
    def test_a_part_waits_for_what_it_is_made_of_and_for_those_it_comes_after(self):
        first, second, third = part("a"), part("b", "a"), part("c", "a", "given")
        chosen = [first, second, third]
        for built, ready, wanted in (
            ((), (), []),
            ("abc", (), [first]),
            ("bc", ("a",), [second, third]),  # one that is not of this stack is not waited for
            ("b", ("a",), [second]),
        ):
            found = startable(chosen, lambda one, built=built: one.name in built, set(ready), chosen)
            self.assertEqual(found, wanted, (built, ready))

    def test_a_pooled_tenant_needs_neither_cluster_nor_chart(self):
        """Whatever tenant-service comes after can start without a tool of infra/tools."""
        with tempfile.TemporaryDirectory() as folder:
            known = {one.name: one for one in stack.Stack("full", {"TENANTRY_LOCAL": folder}).parts}
        needed, open_ = set(), ["tenant-service"]
        while open_:
            if (name := open_.pop()) not in needed:
                needed.add(name)
                open_ += known[name].after
        self.assertEqual({name for name in needed if known[name].tools}, set())
        self.assertIn("functions", needed)
        self.assertIn("rabbitmq", needed)


class World:
    """A supervisord, and parts that are ready at once."""

    def __init__(self):
        self.calls, self.states = [], {}

    def configure(self, parts):
        self.calls.append("configure " + " ".join(one.name for one in parts))

    def info(self, name):
        return {"statename": self.states.get(name, "STOPPED"), "spawnerr": "", "exitstatus": 1}

    def start(self, name):
        self.calls.append(f"start {name}")
        self.states[name] = "RUNNING"

    def part(self, name, *after):
        def nothing():
            return None
        return part(name, *after, prepare=nothing, write_script=nothing, before_start=nothing, ready=nothing, finish=nothing,
                    bound=5, log=Path("/nowhere"))


class Starts(unittest.TestCase):
    def setUp(self):
        self.world, self.said = World(), []
        self.chosen = [self.world.part(*words) for words in (("a",), ("b", "a"), ("c", "b"))]
        self.start = Start(None, self.world, self.chosen, self.said.append)

    def until(self, there, done):
        for _ in range(1000):
            self.start.step(there)
            for _, _, last in self.start.finishing.values():
                last.join(5)
            if done():
                return
        self.fail(f"{self.world.calls}")

    def test_what_is_not_built_holds_up_only_what_comes_after_it(self):
        self.until(lambda one: one.name != "b", lambda: "a" in self.start.ready)
        self.assertEqual(self.world.calls, ["configure a c", "start a"])
        self.until(lambda one: True, self.start.done)
        self.assertEqual(self.world.calls[2:], ["configure b", "start b", "start c"])
        self.assertEqual(len(self.said), 3)

    def test_what_runs_is_not_started_again(self):
        self.world.states = {"a": "RUNNING", "b": "RUNNING", "c": "RUNNING"}
        self.until(lambda one: True, self.start.done)
        self.assertEqual((self.world.calls, self.said), (["configure a b c"], []))

    def test_a_part_that_ends_is_named(self):
        self.start.step(lambda one: True)
        self.world.states["a"] = "FATAL"
        self.chosen[0].ready = lambda: "no"
        self.start.starting[self.chosen[0]] = (0, True, 5)
        with self.assertRaisesRegex(SystemExit, "a ended: exit status 1"):
            self.start.look()

    def test_what_is_done_beside_tells_its_failure(self):
        def work():
            raise SystemExit("no")
        beside = Beside(work)
        beside.join(5)
        with self.assertRaisesRegex(SystemExit, "no"):
            beside.ended()


if __name__ == "__main__":
    unittest.main()
