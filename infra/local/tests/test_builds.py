import io
import sys
import tempfile
import time
import unittest
from pathlib import Path
from types import SimpleNamespace

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "tools")]
import build  # noqa: E402
import builds  # noqa: E402
import stack  # noqa: E402
from builds import Builds, Unit, remaining, told  # noqa: E402


class Remaining(unittest.TestCase):
    def test_two_sides_go_on_at_once_and_the_longer_one_alone_at_the_end(self):
        for tools, cargo, wanted in ((0, 0, 0), (600, 0, 600), (0, 600, 600), (600, 600, 1000), (1200, 600, 1600)):
            self.assertAlmostEqual(remaining(tools, cargo), wanted)

    def test_what_takes_longer_than_expected_is_always_nearly_ready(self):
        unit = Unit("helm", [], 2)
        self.assertEqual(unit.left(), 120)
        unit.spent = 500
        self.assertEqual(unit.left(), 12)
        unit.done = True
        self.assertEqual(unit.left(), 0)

    def test_the_line_names_what_is_built_since_when_and_for_how_long_still(self):
        running, waiting = [Unit("kubernetes", []), Unit(builds.OURS, [])], [Unit("etcd", []), Unit("helm", [])]
        for unit, since in zip(running, (150, 70)):
            unit.since = since
        self.assertEqual(told(running, waiting, 1380, 190), "  building kubernetes (40 s so far) and our own programs "
                                                            "(2 min so far), then etcd, helm: about 23 min left")
        self.assertEqual(told(running[:1], [], 0, 160), "  building kubernetes (10 s so far): about 10 s left")


class Order(unittest.TestCase):
    def test_every_tool_and_everything_fetched_is_known(self):
        with tempfile.TemporaryDirectory() as folder:
            made = stack.Stack("full", {"TENANTRY_LOCAL": folder})
            wanted = stack.wanted_tools(made, made.chosen())
        self.assertEqual(wanted, set(builds.ORDER))
        self.assertLessEqual(wanted, {tool.name for tool in build.tools()})
        self.assertEqual({name for part in made.chosen() for name in part.fetches}, set(builds.FETCHED))
        for script in builds.FETCHED.values():
            self.assertTrue((builds.TOOLS / script).is_file(), script)

    def test_opentofu_is_last(self):
        self.assertEqual(builds.ORDER[-1], "opentofu")


class Runs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        local = Path(folder.name)
        (local / "logs").mkdir()
        self.out, self.stack = io.StringIO(), SimpleNamespace(local=local, tmp=local, target=local / "target")
        self.builds = Builds(self.stack, (), (), self.out.write)
        self.addCleanup(self.builds.end)

    def run_to(self, *units):
        self.builds.tools, self.builds.cargo = builds.Lane(units), builds.Lane([])
        self.builds.lanes = (self.builds.tools, self.builds.cargo)
        end = time.monotonic() + 20
        while not self.builds.done():
            self.builds.step()
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def test_one_after_the_other_and_each_says_where_its_binaries_are(self):
        marker = self.stack.local / "first"
        self.run_to(Unit("x", ["sh", "-c", f"echo a /bin/a; touch {marker}"]),
                    Unit("y", ["sh", "-c", f"test -e {marker} && echo b /bin/b"]))
        self.assertEqual(self.builds.links, {"a": Path("/bin/a"), "b": Path("/bin/b")})
        self.assertEqual(self.builds.built, {"x", "y"})

    def test_a_part_is_there_with_its_tools_and_programs(self):
        self.builds.built = {"x"}
        for tools, programs, wanted in ((("x",), [], True), (("x", "y"), [], False), ((), ["/p"], False), ((), [], True)):
            part = SimpleNamespace(tools=tools, fetches=(), programs=lambda programs=programs: programs)
            self.assertEqual(self.builds.there(part), wanted)

    def test_a_failure_shows_the_end_of_what_was_said(self):
        with self.assertRaisesRegex(SystemExit, "(?s)building x failed.*no space"):
            self.run_to(Unit("x", ["sh", "-c", "echo no space >&2; exit 1"]))

    def test_what_is_under_way_is_ended(self):
        self.builds.tools = builds.Lane([Unit("x", ["sleep", "60"])])
        self.builds.cargo = builds.Lane([])
        self.builds.lanes = (self.builds.tools,)
        self.builds.step()
        process = self.builds.tools.units[0].process
        self.assertIsNone(process.poll())
        self.builds.end()
        self.assertIsNotNone(process.returncode)


if __name__ == "__main__":
    unittest.main()
