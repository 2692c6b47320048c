"""Every relative link of the documents leads to a file, and to a heading in it where it names one."""

import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
# Most that the README may have, in bytes.
README = 8192


def documents():
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "*.md"],
                            capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).exists()]


def prose(text):
    """Without blocks and spans of code."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path):
    """The names that GitHub gives to headings."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


class Links(unittest.TestCase):
    def test_every_relative_link_resolves(self):
        wrong = []
        for path in documents():
            for target in LINK.findall(prose(path.read_text())):
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, anchor = target.partition("#")
                there = (path.parent / name).resolve() if name else path
                if not there.exists():
                    wrong.append(f"{path.relative_to(ROOT)}: {target} does not exist")
                elif anchor and there.suffix == ".md" and anchor not in anchors(there):
                    wrong.append(f"{path.relative_to(ROOT)}: {target} has no such heading")
        self.assertEqual(wrong, [])

    def test_every_page_of_docs_is_reached_from_the_readme(self):
        reached, waiting = set(), [ROOT / "README.md"]
        while waiting:
            path = waiting.pop()
            if path in reached:
                continue
            reached.add(path)
            for target in LINK.findall(prose(path.read_text())):
                there = (path.parent / target.partition("#")[0]).resolve()
                if there.suffix == ".md" and there.exists():
                    waiting.append(there)
        pages = {path for path in documents() if ROOT / "docs" in path.parents}
        self.assertEqual(pages - reached, set())

    def test_the_readme_is_short(self):
        self.assertLessEqual((ROOT / "README.md").stat().st_size, README)


if __name__ == "__main__":
    unittest.main()
