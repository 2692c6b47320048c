"""The packing of images, with a small static program in place of ours."""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import images  # noqa: E402

build = images.build

LABELS = {"org.opencontainers.image.version": "1.2.3", "org.opencontainers.image.revision": "abc",
          "org.opencontainers.image.source": "https://example.com/tenantry?a=b,c"}

PROGRAM = '#include <stdio.h>\nint main(void) { puts("it runs"); return 0; }\n'


class TheList(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.known = images.metadata()
        cls.images = {image.name: image for image in images.images(cls.known)}

    def test_every_function_has_an_image_and_so_have_the_programs_of_jobs(self):
        members = {folder.parent.name for folder in (images.ROOT / "functions").glob("*/Cargo.toml")}
        self.assertEqual(members | {"check-database", "run-terraform"}, set(self.images))

    def test_who_runs_tofu_has_it_with_the_module(self):
        image = self.images["run-terraform"]
        self.assertEqual(image.tools, [("opentofu", "tofu")])
        self.assertIn("modules/azure/main.tf", image.files)

    def test_who_runs_helm_has_it(self):
        """The crates that link the one by which helm is run, read from the manifests; and who links them all."""
        manifests = (images.ROOT / "functions").glob("*/Cargo.toml")
        linking = {path.parent.name for path in manifests
                   if "helm" in tomllib.loads(path.read_text())["dependencies"]}
        self.assertIn("deploy-core-services", linking)
        have = {name for name, image in self.images.items() if ("helm", "helm") in image.tools}
        self.assertEqual(linking | {"dispatcher"}, have)
        self.assertEqual(self.images["tenant-api"].tools, [])

    def test_every_tool_is_one_that_is_built(self):
        known = {tool.name: tool.binaries for tool in build.tools()}
        for tool, name in [*images.RUNS.values(), *sum(images.ALSO_RUNS.values(), [])]:
            self.assertIn(name, known[tool])


class Packing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.crane = build.binaries(["crane"])["crane"]
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.static, cls.dynamic = (Path(cls.folder.name) / name for name in ("static", "dynamic"))
        for path, flags in ((cls.static, ["-static"]), (cls.dynamic, [])):
            subprocess.run(["cc", *flags, "-x", "c", "-o", path, "-"], input=PROGRAM, text=True, check=True)

    def packed(self, out):
        """Packed as an image of ours, with a second program beside it."""
        image = images.Image("hello", "hello", 'Says "hello", and no more', [])
        files = {"usr/bin/hello": (self.static, 0o755), "usr/bin/other": (b"another", 0o755)}
        with tempfile.TemporaryDirectory() as scratch, images.registry(self.crane, scratch) as at:
            return images.pack(self.crane, image, files, LABELS, "linux/amd64", at, Path(out))

    def test_only_a_static_program_is_packed(self):
        self.assertTrue(images.is_static(self.static))
        self.assertFalse(images.is_static(self.dynamic))
        self.assertFalse(images.is_static(__file__))

    def test_an_image_is_whole_and_the_same_twice(self):
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "hello"
            digest = self.packed(out)
            self.assertEqual(digest, self.packed(Path(scratch) / "again"))
            self.assertEqual(digest, self.packed(out), "what is there is replaced")

            def blob(name):
                content = (out / "blobs" / "sha256" / name.removeprefix("sha256:")).read_bytes()
                self.assertEqual(f"sha256:{hashlib.sha256(content).hexdigest()}", name)
                return content

            self.assertEqual(json.loads((out / "oci-layout").read_text()), {"imageLayoutVersion": "1.0.0"})
            [entry] = json.loads((out / "index.json").read_text())["manifests"]
            self.assertEqual(entry["digest"], digest)
            manifest = json.loads(blob(digest))
            self.assertEqual(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json")
            self.assertEqual(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json")
            config = json.loads(blob(manifest["config"]["digest"]))
            self.assertEqual((config["os"], config["architecture"]), ("linux", "amd64"))
            run = config["config"]
            self.assertEqual((run["User"], run["Entrypoint"], run["WorkingDir"]), ("65532:65532", ["/usr/bin/hello"], "/"))
            self.assertIn("SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", run["Env"])
            for key, value in (LABELS | {"org.opencontainers.image.description": 'Says "hello", and no more'}).items():
                self.assertEqual(run["Labels"][key], value)
            [only] = manifest["layers"]
            self.assertTrue(only["mediaType"].startswith("application/vnd.oci.image.layer.v1.tar"))
            blob(only["digest"])
            with tarfile.open(out / "blobs" / "sha256" / only["digest"].removeprefix("sha256:")) as tar:
                entries = {entry.name: entry for entry in tar.getmembers()}
                self.assertEqual(entries["usr/bin/hello"].mode, 0o755)
                self.assertEqual(entries["tmp"].mode, 0o1777)
                for entry in entries.values():
                    self.assertEqual((entry.mtime, entry.uid, entry.gid), (0, 0, 0), entry.name)
                roots = tar.extractfile("etc/ssl/certs/ca-certificates.crt").read()
                self.assertIn(b"BEGIN CERTIFICATE", roots)
                tar.extract("usr/bin/hello", scratch)
            done = subprocess.run([Path(scratch) / "usr/bin/hello"], capture_output=True, text=True)
            self.assertEqual(done.stdout, "it runs\n")

    def test_what_is_pushed_is_what_was_packed(self):
        with tempfile.TemporaryDirectory() as scratch, images.registry(self.crane, f"{scratch}/registry") as at:
            digest = self.packed(Path(scratch) / "hello")
            to = f"{at}/some/prefix/hello:1.2.3"
            build.run("pushing", [self.crane, "push", f"{scratch}/hello", to])
            self.assertEqual(build.run("reading", [self.crane, "digest", to]).strip(), digest)


if __name__ == "__main__":
    unittest.main()
