"""Make the golden bundles of format 1, and the facts that a reader must find in them (`expected.json`).

    python tests/vectors/make.py PYTHON_3_7 TOOLCHAIN

PYTHON_3_7 is the target interpreter; TOOLCHAIN is a directory with the wheels of pip, setuptools and
wheel that run on it (`pip download --no-deps --python-version 3.7 --only-binary :all: pip setuptools wheel`).

The good bundles are built by the real command from wheels that are made here. The broken ones are the
minimal bundle with one edit each, compressed again, so that only a check of the content can find it.

A file that exists is never written again: see README.md beside this script.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.wheels import make_wheel  # noqa: E402 - the directory of the tests is not on the path before

from bundler.archive.compression import Codec, compressor, decompressed  # noqa: E402
from bundler.archive.tar import END, file_header, padding  # noqa: E402
from bundler.bundle.manifest import Manifest, parse_manifest  # noqa: E402
from bundler.jsonio import canonical_json  # noqa: E402

EPOCH = 315532800
STEM = "minimal-1-cp37-linux_x86_64"
SITE = "lib/python3.7/site-packages"
SCRIPT = "#!python\nfrom __future__ import print_function\nimport sys\nprint('script', sys.argv[1:])\n"

Entries = list[tuple[str, bytes, bytes]]
"""The name, header and padded content of each entry."""


def make_wheels(folder: Path) -> None:
    """Write the wheels that the bundles are built from."""
    make_wheel(folder, "tiny", "1.0", {"tiny.py": "VERSION = '1.0'\n", "tiny_data/é.txt": "é\n"})
    make_wheel(
        folder,
        "shop",
        "2.1",
        {
            "shop/__init__.py": "from basket import VERSION\n",
            "shop/cli.py": "import sys\n\n\ndef main():\n    print('shop', *sys.argv[1:])\n",
            "shop/empty.txt": "",
            f"shop/{'long' * 30}.txt": "a name that ustar cannot hold\n",
            "ns/__init__.py": "# of shop\n__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
            "ns/shop.py": "",
            "shop-2.1.data/data/share/shop/shared.txt": "shared\n",
            "shop-2.1.data/data/etc/shop.conf": "key = value\n",
            "shop-2.1.data/headers/shop.h": "#define SHOP 1\n",
            "shop-2.1.data/scripts/shop-script": SCRIPT,
            "shop-2.1.data/scripts/shop-shell": "#!/bin/sh\necho shell\n",
        },
        requires=["basket>=1"],
        entry_points="[console_scripts]\nshop = shop.cli:main\n[gui_scripts]\nshop-gui = shop.cli:main\n",
    )
    make_wheel(
        folder,
        "basket",
        "1.0",
        {
            "basket/__init__.py": "VERSION = '1.0'\n",
            # A warning: nothing needs it.
            "basket_broken.py": "import module_that_does_not_exist\n",
            "ns/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
            "ns/basket.py": "",
            "basket-1.0.data/data/share/shop/shared.txt": "shared\n",
        },
    )
    # An error, which the build has to allow.
    make_wheel(folder, "cart", "1.0", {"cart.py": "import module_that_does_not_exist\n"})


class Builder:
    """The real command, without an index."""

    def __init__(self, python: Path, links: list[Path], scratch: Path) -> None:
        self._options = [f"--python={python}", "--no-index", *(f"--find-links={link}" for link in links)]
        self._scratch = scratch

    def build(self, *arguments: str) -> Path:
        """Build a bundle, and return the directory of its files."""
        output = self._scratch / f"out{len(list(self._scratch.glob('out*')))}"
        argv = [sys.executable, "-I", "-m", "bundler", "build", "--quiet", *self._options]
        argv += [f"--output={output}", f"--store={self._scratch / 'store'}", *arguments]
        env = {"PATH": os.defpath, "HOME": str(self._scratch), "PIP_CONFIG_FILE": os.devnull}
        subprocess.run(argv, env=env, cwd=self._scratch, check=True)
        return output


def keep(source: Path, name: str) -> None:
    """Copy a file to its place beside this script, if there is none of its name."""
    final = HERE / name
    final.parent.mkdir(exist_ok=True)
    if final.exists():
        print("exists", name)
    else:
        shutil.copyfile(source, final)


def make_good(builder: Builder, scratch: Path) -> None:
    """Build the good bundles: an archive in each codec, a directory, one with everything, one for a base."""
    output = builder.build("tiny", "--name=minimal", "--bundle-version=1")
    for suffix in (".tar.gz", ".sha256", ".manifest.json"):
        keep(output / f"{STEM}{suffix}", f"good/{STEM}{suffix}")
    output = builder.build("tiny", "--name=minimal-zst", "--bundle-version=1", "--format=tar.zst")
    keep(next(output.glob("*.tar.zst")), "good/minimal-zst-1-cp37-linux_x86_64.tar.zst")

    output = builder.build("tiny", "--name=directory", "--bundle-version=1", "--format=dir")
    # Bytecode is ignored by the repository, so the tree is stored in an ordinary tar, which is not a bundle.
    packed = scratch / "directory.tar"
    with tarfile.open(packed, "w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(output.rglob("*")):
            entry = archive.gettarinfo(path, path.relative_to(output).as_posix())
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = EPOCH
            archive.addfile(entry, io.BytesIO(path.read_bytes()) if path.is_file() else None)
    keep(packed, "good/directory.tar")

    arguments = ["shop", "cart", "--name=full", "--bundle-version=2.0", "--allow=I201:cart"]
    keep(next(builder.build(*arguments).glob("*.tar.gz")), "good/full-2.0-cp37-linux_x86_64.tar.gz")

    freeze = scratch / "freeze.txt"
    freeze.write_text("basket==1.0\n")
    arguments = ["shop", "--name=based", "--bundle-version=1", f"--base={freeze}", "--omit-provided"]
    keep(next(builder.build(*arguments).glob("*.tar.gz")), "good/based-1-cp37-linux_x86_64.tar.gz")


def read_entries(path: Path) -> tuple[Manifest, Entries]:
    """Return the manifest of the minimal bundle and its entries, as they are."""
    raw = b"".join(decompressed([path.read_bytes()], "gz", path.name))
    entries: Entries = []
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        for member in archive:
            end = member.offset_data + -(-member.size // 512) * 512
            entries.append(
                (member.name, raw[member.offset : member.offset_data], raw[member.offset_data : end])
            )
    content = next(content for name, _, content in entries if name == "minimal/manifest.json")
    return parse_manifest(content.rstrip(b"\0"), path.name), entries


def replaced(
    entries: Entries, ending: str, change: Callable[[bytes, bytes], tuple[bytes, bytes] | None]
) -> Entries:
    """Return the entries, one of them changed, or dropped where the change is None."""
    found: Entries = []
    for name, header, content in entries:
        result = change(header, content) if name.endswith(ending) else (header, content)
        if result is not None:
            found.append((name, *result))
    assert found != entries
    return found


def file_entry(name: str, content: bytes, *, mode: int = 0o644) -> tuple[str, bytes, bytes]:
    """Return the entry of a file as a writer makes it."""
    header = file_header(name, size=len(content), mode=mode, epoch=EPOCH)
    return name, header, content + padding(len(content))


def with_manifest(entries: Entries, **changes: Any) -> Entries:
    """Return the entries with a manifest in which some values are others, canonical again."""
    content = next(content for name, _, content in entries if name == "minimal/manifest.json").rstrip(b"\0")
    values = {**json.loads(content), **changes}
    _, header, content = file_entry("minimal/manifest.json", canonical_json(values) + b"\n")
    return replaced(entries, "/manifest.json", lambda *_: (header, content))


def broken_bundles(manifest: Manifest, entries: Entries) -> dict[str, Entries]:
    """Return the entries of each broken bundle, by name."""
    module = f"{SITE}/tiny.py"
    files = [dict(item) for item in manifest.to_json()["files"]]
    files[0]["path"] = "../escape"
    return {
        "changed-byte": replaced(entries, module, lambda header, content: (header, b"W" + content[1:])),
        "missing-file": replaced(entries, module, lambda *_: None),
        "extra-file": [*entries, file_entry(f"minimal/{SITE}/evil.py", b"import os\n")],
        "changed-mode": replaced(
            entries,
            module,
            lambda header, content: (
                file_header(f"minimal/{module}", size=int(header[124:135], 8), mode=0o755, epoch=EPOCH),
                content,
            ),
        ),
        "format-2": with_manifest(entries, format_version=2),
        "unsafe-path": with_manifest(entries, files=sorted(files, key=lambda item: item["path"])),
        "not-canonical": replaced(
            entries,
            "/manifest.json",
            lambda _, content: file_entry("minimal/manifest.json", b" " + content.rstrip(b"\0"))[1:],
        ),
    }


def make_broken(scratch: Path) -> None:
    """Write the broken bundles."""
    good = HERE / "good" / f"{STEM}.tar.gz"
    manifest, entries = read_entries(good)
    archives = {}
    for name, changed in broken_bundles(manifest, entries).items():
        unit = compressor("gz")
        archives[name] = unit.compress(b"".join(header + content for _, header, content in changed) + END)
        archives[name] += unit.flush()
    whole = good.read_bytes()
    archives["cut-off"] = whole[: len(whole) // 2]
    unit = compressor("gz")
    archives["data-after-the-end"] = whole + unit.compress(bytes(512)) + unit.flush()
    for name, content in archives.items():
        (scratch / name).write_bytes(content)
        keep(scratch / name, f"broken/{name}.tar.gz")
    keep(good, "broken/gzip-by-another-name.tar.zst")
    # The archive is good, and the digest beside it is that of another one.
    keep(good, "broken/other-digest.tar.gz")
    (scratch / "other-digest").write_text(f"{hashlib.sha256(b'').hexdigest()}  other-digest.tar.gz\n")
    keep(scratch / "other-digest", "broken/other-digest.sha256")


def read_facts(path: Path) -> dict[str, Any]:
    """Return the facts of a good bundle, read by nothing but hashlib, json and tarfile."""
    content = path.read_bytes()
    codec: Codec | None = "gz" if path.suffix == ".gz" else "zst" if path.suffix == ".zst" else None
    raw = b"".join(decompressed([content], codec, path.name)) if codec else content
    files = {}
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream is not None:
                files[member.name] = (member.mode, stream.read())
    root = next(name for name in files if name.endswith("/manifest.json")).rpartition("/")[0]
    manifest = json.loads(files[f"{root}/manifest.json"][1])
    # The identity does not cover the host.
    del manifest["host"]
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "root": root,
        "name": manifest["name"],
        "version": manifest["version"],
        "identity": hashlib.sha256(text.encode()).hexdigest(),
        "files": {
            name.removeprefix(f"{root}/"): f"{mode:04o} {hashlib.sha256(body).hexdigest()}"
            for name, (mode, body) in sorted(files.items())
            if name.startswith(f"{root}/")
        },
    }


def write_expected() -> None:
    """Add the facts of every vector that has none yet."""
    path = HERE / "expected.json"
    expected = json.loads(path.read_text("utf-8")) if path.exists() else {"good": {}, "broken": {}}
    for file in sorted((HERE / "good").iterdir()):
        if file.suffix in (".gz", ".zst", ".tar") and file.name not in expected["good"]:
            expected["good"][file.name] = read_facts(file)
    for file in sorted((HERE / "broken").iterdir()):
        if file.suffix in (".gz", ".zst"):
            expected["broken"].setdefault(file.name, hashlib.sha256(file.read_bytes()).hexdigest())
    path.write_text(json.dumps(expected, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")


def main() -> None:
    """Make the vectors that do not exist yet."""
    python, toolchain = (Path(argument).resolve() for argument in sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        make_wheels(scratch / "wheels")
        make_good(Builder(python, [toolchain, scratch / "wheels"], scratch), scratch)
        make_broken(scratch)
    write_expected()


if __name__ == "__main__":
    main()
