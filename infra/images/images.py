#!/usr/bin/env python3
"""Packs our programs as OCI images, without a Docker engine: a static binary, and nothing else that could be attacked.

    images.py                         builds and packs every program into target/images
    images.py tenant-api …            only these
    images.py --push REGISTRY/PREFIX  pushes each, too, as REGISTRY/PREFIX/<name>:<version> (log in by `crane auth login`)
    images.py --list                  prints the names

Each image is an OCI layout, target/images/<name>; digests.txt beside them says what each is. The same binaries give the same
digests. There is one image for every binary of every crate in functions/, so that a new function has one by itself. Into one
that links a crate that runs another program (helm), that goes too.

IMAGE_SOURCE is the address of the source in the labels (the git remote, where there is one), IMAGE_VERSION the version and tag
(the workspace's).
"""

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "infra" / "tools"))

import build  # noqa: E402

OUT = ROOT / "target" / "images"

# Crates in shared/ that run another program: the tool of infra/tools that builds it, and its name there. The crate `terraform` is
# not one of them: what links it has tofu run elsewhere, in a Job or under supervisord.
RUNS = {"helm": ("helm", "helm")}

# Second programs of a crate that run another, as above; and the folders that they read, by where those are in the image.
ALSO_RUNS = {"run-terraform": [("opentofu", "tofu")]}
ALSO_READS = {"run-terraform": {"modules/azure": ROOT / "infra" / "terraform" / "azure"}}

# The unprivileged user of distroless images.
USER = 65532

# Authorities whose certificates are believed. Debian keeps them here, and rustls and Go look here.
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Image:
    """One program: its name, the crate that it is of, the tools that it runs, and the files that it reads."""

    def __init__(self, name, package, description, tools):
        self.name, self.package, self.description, self.tools = name, package, description, tools
        self.files = {f"{at}/{path.relative_to(folder)}": (path, 0o644)
                      for at, folder in ALSO_READS.get(name, {}).items()
                      for path in sorted(folder.rglob("*")) if path.is_file() and ".terraform/" not in str(path)}


def metadata(root=ROOT):
    answer = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=root, check=True,
                            capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return json.loads(answer.stdout)


def images(known):
    """An image for every binary of the crates in functions/, from what cargo knows of the workspace."""
    functions = Path(known["workspace_root"]) / "functions"
    crates = {crate["name"]: crate for crate in known["packages"]}

    def linked(name, seen):
        """The crates of the workspace that one links, itself among them."""
        seen.add(name)
        for needed in crates[name]["dependencies"]:
            if needed["kind"] is None and needed["name"] in crates and needed["name"] not in seen:
                linked(needed["name"], seen)
        return seen

    found = []
    for name, crate in sorted(crates.items()):
        if Path(crate["manifest_path"]).parent.parent != functions:
            continue
        tools = sorted(RUNS[each] for each in linked(name, set()) & set(RUNS))
        for target in crate["targets"]:
            if "bin" in target["kind"]:
                # A second program of a crate is a small one that does not do what the first does.
                own = tools if target["name"] == name else ALSO_RUNS.get(target["name"], [])
                found.append(Image(target["name"], name, crate["description"] or "", own))
    return found


def host():
    """The machine's own target: with it named, flags reach what is built for the image, and no build script."""
    answer = subprocess.run(["rustc", "-vV"], cwd=ROOT, check=True, capture_output=True, text=True)
    return re.search(r"^host: (\S+)", answer.stdout, re.M).group(1)


def compile_all(wanted):
    """Builds the static binaries of these images; the folder they are in."""
    target, folder = host(), ROOT / "target" / "images-build"
    home = os.environ.get("CARGO_HOME") or Path.home() / ".cargo"
    flags = [*os.environ.get("RUSTFLAGS", "").split(), "-C", "target-feature=+crt-static",
             f"--remap-path-prefix={ROOT}=/tenantry", f"--remap-path-prefix={home}=/cargo"]
    command = ["cargo", "build", "--profile", "image", "--locked", "--bins", "--target", target, "--target-dir", folder]
    for package in sorted({image.package for image in wanted}):
        command += ["--package", package]
    # This form holds paths with spaces, too.
    env = os.environ | {"CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags), "SQLX_OFFLINE": "true"}
    if subprocess.run([str(word) for word in command], cwd=ROOT, env=env, stdin=subprocess.DEVNULL).returncode:
        raise SystemExit("the programs cannot be built (see above)")
    return folder / target / "image"


def is_static(path):
    """Whether a program needs no loader: an ELF file without a PT_INTERP header."""
    told = subprocess.run(["readelf", "--program-headers", "--wide", str(path)], capture_output=True, text=True)
    return told.returncode == 0 and "INTERP" not in told.stdout and "LOAD" in told.stdout


def layer(path, files):
    """A tar of these files, {name: (path or bytes, mode)}, with what every program may want. Depends on contents only."""
    account = f"nonroot:x:{USER}:{USER}:nonroot:/tmp:/sbin/nologin\n".encode()
    everything = {
        "etc/passwd": (account, 0o644),
        "etc/group": (f"nonroot:x:{USER}:\n".encode(), 0o644),
        # As glibc has it by default since 2.34, whose static programs know these two ways without a library.
        "etc/nsswitch.conf": (b"hosts: files dns\n", 0o644),
        str(AUTHORITIES).lstrip("/"): (AUTHORITIES, 0o644),
    } | files
    folders = {str(parent) for name in everything for parent in Path(name).parents if str(parent) != "."} | {"tmp"}
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(folders | set(everything)):
            entry = tarfile.TarInfo(name)
            if name in folders:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
                tar.addfile(entry)
                continue
            content, entry.mode = everything[name]
            content = content if isinstance(content, bytes) else Path(content).read_bytes()
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


@contextlib.contextmanager
def registry(crane, folder):
    """A registry on a free port of 127.0.0.1, for as long as it is needed: crane changes an image only in one."""
    log, blobs = Path(folder) / "log", Path(folder) / "blobs"
    blobs.mkdir(parents=True)
    with open(log, "w") as out:
        serving = subprocess.Popen([crane, "registry", "serve", "--address", "127.0.0.1:0", "--disk", blobs],
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        # It says which port it has got.
        end = time.monotonic() + 60
        while not (port := re.search(r"port (\d+)", log.read_text())):
            if serving.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"crane's registry does not start: {log.read_text().strip()}")
            time.sleep(0.05)
        yield f"127.0.0.1:{port.group(1)}"
    finally:
        serving.terminate()
        serving.wait()


def pack(crane, image, files, labels, platform, at, out):
    """One image as an OCI layout in `out`; its digest. `at` is a registry for what is in between."""
    name = f"{at}/{image.name}:{labels['org.opencontainers.image.version']}"
    with tempfile.TemporaryDirectory() as scratch:
        tar = Path(scratch) / "layer.tar"
        layer(tar, files)
        build.run("packing", [crane, "append", "--oci-empty-base", "--new_layer", tar, "--new_tag", name])
    change = [crane, "mutate", name, "--tag", name, "--set-platform", platform, "--user", f"{USER}:{USER}",
              "--workdir", "/", "--entrypoint", f"/usr/bin/{image.name}",
              "--env", "PATH=/usr/bin", "--env", f"SSL_CERT_FILE={AUTHORITIES}"]
    for key, value in sorted((labels | {"org.opencontainers.image.title": image.name,
                                        "org.opencontainers.image.description": image.description}).items()):
        # The flag takes one pair as it is, and a line of CSV where it sees more than one `=`.
        pair = f"{key}={value}"
        change += ["--label", pair if pair.count("=") == 1 else '"' + pair.replace('"', '""') + '"']
    build.run("labelling", change)
    build.run("checking", [crane, "validate", "--remote", name])
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    build.run("writing", [crane, "pull", "--format", "oci", name, fresh])
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)
    return build.run("reading its digest", [crane, "digest", name]).strip()


def labels(known):
    """What the images say of where they come from."""
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()  # noqa: E731
    version = os.environ.get("IMAGE_VERSION") or next(c["version"] for c in known["packages"] if c["name"] == "model")
    revision = git("rev-parse", "HEAD") or "unknown"
    if git("status", "--porcelain", "--untracked-files=no"):
        revision += "-dirty"
    said = {"org.opencontainers.image.version": version, "org.opencontainers.image.revision": revision,
            "org.opencontainers.image.licenses": "Apache-2.0"}
    source = os.environ.get("IMAGE_SOURCE")
    if not source:
        # Without a login that may stand in it.
        remote = urllib.parse.urlsplit(git("remote", "get-url", "origin"))
        if remote.scheme in ("http", "https") and remote.hostname:
            source = f"{remote.scheme}://{remote.hostname}{remote.path.removesuffix('.git')}"
    return said | ({"org.opencontainers.image.source": source} if source else {})


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("names", nargs="*", help="the images; none: all")
    options.add_argument("--push", metavar="REGISTRY/PREFIX", help="where to push them")
    options.add_argument("--list", action="store_true", help="print the names and end")
    asked = options.parse_args()
    known = metadata()
    every = images(known)
    if asked.list:
        print("\n".join(image.name for image in every))
        return
    if unknown := set(asked.names) - {image.name for image in every}:
        raise SystemExit(f"no such image: {', '.join(sorted(unknown))}; there are {', '.join(i.name for i in every)}")
    if not AUTHORITIES.exists():
        raise SystemExit(f"{AUTHORITIES} is missing: install the package ca-certificates")
    wanted = [image for image in every if not asked.names or image.name in asked.names]
    tools = build.binaries(sorted({"crane"} | {tool for image in wanted for tool, _ in image.tools}))
    binaries = compile_all(wanted)
    said, platform = labels(known), f"linux/{ARCHITECTURES[host().split('-')[0]]}"
    OUT.mkdir(parents=True, exist_ok=True)
    digests = {}
    with tempfile.TemporaryDirectory() as scratch, registry(tools["crane"], scratch) as at:
        for image in wanted:
            programs = {image.name: binaries / image.name} | {name: tools[name] for _, name in image.tools}
            for name, path in programs.items():
                if not is_static(path):
                    raise SystemExit(f"{name} is not static: it would not start in {image.name}'s image")
            files = image.files | {f"usr/bin/{name}": (path, 0o755) for name, path in programs.items()}
            digests[image.name] = pack(tools["crane"], image, files, said, platform, at, OUT / image.name)
            print(f"{image.name} {digests[image.name]}", flush=True)
    tag = said["org.opencontainers.image.version"]
    (OUT / "digests.txt").write_text("".join(f"{name}:{tag} {digest}\n" for name, digest in sorted(digests.items())))
    if asked.push:
        for image in wanted:
            to = f"{asked.push.rstrip('/')}/{image.name}:{tag}"
            build.run(f"pushing {to}", [tools["crane"], "push", OUT / image.name, to])
            print(f"pushed {to}@{digests[image.name]}", flush=True)


if __name__ == "__main__":
    main()
