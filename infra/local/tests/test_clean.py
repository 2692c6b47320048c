import contextlib
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import settings  # noqa: E402
import stack  # noqa: E402


class Clean(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "local"
        self.stack = stack.Stack(environ={"TENANTRY_LOCAL": str(self.folder)})

    def content(self):
        return sorted(path.relative_to(self.folder) for path in self.folder.rglob("*"))

    def test_a_foreign_folder_is_left_as_it_is(self):
        (self.folder / "ssl").mkdir(parents=True)
        for name in ("passwd", "lock", "secrets.json", "logs"):
            (self.folder / name).write_text("theirs")
        before = self.content()
        for act in (stack.clean, stack.down, stack.up):
            with self.assertRaisesRegex(SystemExit, "not made by a stack"):
                act(self.stack)
            self.assertEqual(self.content(), before)

    def test_what_a_stack_made_goes_and_the_folder_with_it(self):
        self.stack.make_folders()
        self.stack.secret("x")
        (self.folder / "postgres" / "data").mkdir(parents=True)
        stack.clean(self.stack)
        self.assertFalse(self.folder.exists())

    def test_what_somebody_else_put_there_stays(self):
        self.stack.make_folders()
        (self.folder / "notes.txt").write_text("theirs")
        with self.assertRaisesRegex(SystemExit, "notes.txt"):
            stack.clean(self.stack)
        self.assertEqual((self.folder / "notes.txt").read_text(), "theirs")
        with contextlib.suppress(SystemExit):
            stack.clean(self.stack)  # a second call says the same and does no more
        self.assertEqual((self.folder / "notes.txt").read_text(), "theirs")

    def test_a_link_is_not_followed(self):
        target = self.folder.with_name("target")
        target.mkdir()
        (target / settings.MARKER).touch()
        (target / "logs").mkdir()
        self.folder.symlink_to(target)
        with self.assertRaisesRegex(SystemExit, "not a folder"):
            stack.clean(self.stack)
        self.assertTrue((target / "logs").is_dir())

    def test_nothing_there_is_fine(self):
        stack.clean(self.stack)
        self.assertFalse(self.folder.exists())


if __name__ == "__main__":
    unittest.main()
