"""What a receiver does: rows B01 to B41 of the corpus of bad bundles, and the good ones."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.bundles import (
    EPOCH,
    FILES,
    Entries,
    entries_of,
    header_of,
    index_of,
    make_bundle,
    manifest_values,
    packed,
    tar_names,
)
from support.figures import Recorder

from bundler.archive.compression import Codec, compressor
from bundler.archive.tar import END, directory_header, file_header, padding
from bundler.bundle.manifest import make_manifest
from bundler.bundle.reader import unpack_bundle, verify_bundle
from bundler.errors import BundlerError, IntegrityError, MalformedError, OutputError
from bundler.reporter import SILENT

SITE = "lib/python3.7/site-packages"
INIT = f"{SITE}/pkg/__init__.py"

Change = Callable[[Entries], Entries | None]


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.relative_to(folder).as_posix(): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def refused(path: Path, tmp_path: Path) -> BundlerError:
    """Verify and unpack must refuse alike, with nothing left behind and nothing written outside."""
    work = tmp_path / "work"
    work.mkdir()
    sentinel = tmp_path / "sentinel"
    sentinel.write_text("untouched")
    with pytest.raises(BundlerError) as verified:
        verify_bundle(path, reporter=SILENT)
    with pytest.raises(BundlerError) as unpacked:
        unpack_bundle(path, work / "out", reporter=SILENT)

    assert str(verified.value) == str(unpacked.value)
    assert list(work.iterdir()) == []
    assert sentinel.read_text() == "untouched"
    return unpacked.value


@pytest.mark.parametrize("codec", ["gz", "zst"])
def test_a_good_bundle_is_unpacked_exactly(tmp_path: Path, codec: Codec) -> None:
    path = make_bundle(tmp_path, codec=codec)

    checked = unpack_bundle(path, tmp_path / "o u t ä", reporter=SILENT)

    found = tree(tmp_path / "o u t ä")
    assert {name: found[name][1] for name in FILES} == FILES
    assert found["bin/tool"][0] == 0o755
    assert found[INIT][0] == 0o644
    assert checked.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert set(found) == {*FILES, "manifest.json", "pylock.toml"}


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    path = make_bundle(tmp_path)
    before = os.umask(0o077)
    try:
        unpack_bundle(path, tmp_path / "out", reporter=SILENT)
    finally:
        os.umask(before)

    modes = {stat.S_IMODE(found.stat().st_mode) for found in (tmp_path / "out").rglob("*")}
    assert modes == {0o644, 0o755}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755


def test_plain_tar_and_python_see_the_same_tree(tmp_path: Path) -> None:
    path = make_bundle(tmp_path)
    subprocess.run(["tar", "-xzf", path.name], cwd=tmp_path, check=True, capture_output=True)

    assert verify_bundle(tmp_path / "small", reporter=SILENT).manifest.name == "small"
    assert tar_names(path)[0] == "small"


def swap(ending: str, header: Callable[[str], bytes], content: bytes = b"") -> Change:
    """Replace the entry that ends so by one with another header."""

    def change(entries: Entries) -> None:
        place = index_of(entries, ending)
        entries[place] = (entries[place][0], header(entries[place][0]), content)

    return change


def insert(name: str, header: bytes, content: bytes = b"", *, before: str = "bin/tool") -> Change:
    def change(entries: Entries) -> None:
        entries.insert(index_of(entries, before), (name, header, content + padding(len(content))))

    return change


def drop(ending: str) -> Change:
    def change(entries: Entries) -> None:
        entries.pop(index_of(entries, ending))

    return change


def kind(name: str, letter: bytes, link: str = "") -> bytes:
    return header_of(name, type=letter, linkname=link)


HOSTILE = [
    pytest.param(
        insert("..", header_of("../sentinel", size=3), b"bad"), "`../sentinel` is extra", id="B01-parent"
    ),
    pytest.param(insert("/", header_of("/tmp/x", size=3), b"bad"), "`/tmp/x` is extra", id="B01-absolute"),
    pytest.param(insert("C:", header_of("C:x", size=3), b"bad"), "`C:x` is extra", id="B01-drive"),
    pytest.param(
        swap(INIT, lambda name: kind(name, tarfile.SYMTYPE, "/etc/passwd")),
        "type of .*__init__",
        id="B02-symlink",
    ),
    pytest.param(
        insert("l", kind("small/lib2", tarfile.SYMTYPE, "..")), "`lib2` is extra", id="B03-symlink-first"
    ),
    pytest.param(insert("e", kind("", tarfile.SYMTYPE, "/")), "is missing|is extra", id="B05-empty-symlink"),
    pytest.param(
        swap(INIT, lambda name: kind(name, tarfile.LNKTYPE, "small/bin/tool")), "type of", id="B06-hardlink"
    ),
    *(
        pytest.param(swap(INIT, lambda name, letter=letter: kind(name, letter)), "type of", id=f"B07-{what}")  # type: ignore[misc]
        for what, letter in [
            ("char", tarfile.CHRTYPE),
            ("block", tarfile.BLKTYPE),
            ("fifo", tarfile.FIFOTYPE),
            ("contiguous", tarfile.CONTTYPE),
            ("unknown", b"Z"),
        ]
    ),
    pytest.param(
        swap("bin/tool", lambda name: header_of(name, size=17, mode=0o4755), FILES["bin/tool"] + bytes(495)),
        "mode, owner",
        id="B08-setuid",
    ),
    pytest.param(
        swap(
            "bin/tool",
            lambda name: header_of(name, size=17, mode=0o755, uid=7),
            FILES["bin/tool"] + bytes(495),
        ),
        "mode, owner",
        id="B08-owner",
    ),
    pytest.param(swap(INIT, lambda name: kind(name, tarfile.GNUTYPE_SPARSE)), "type of", id="B09-sparse"),
    pytest.param(swap(INIT, lambda name: header_of(name, size=1 << 40)), "the size", id="B10-base-256-size"),
    pytest.param(
        insert("pax", header_of("small/x", type=tarfile.XHDTYPE, size=20), b"20 path=/etc/passwd\n"),
        "`x` is extra",
        id="B11-pax-path",
    ),
    pytest.param(
        insert("g", header_of("g", type=tarfile.XGLTYPE, size=12), b"12 uid=1000\n"),
        "`g` is extra",
        id="B11-global",
    ),
    pytest.param(
        insert("L", header_of("././@LongLink", type=tarfile.GNUTYPE_LONGNAME, size=4), b"abc\0"),
        "is extra",
        id="B12-longname",
    ),
    pytest.param(
        insert("twice", header_of("small/bin/tool", size=3, mode=0o755), b"bad"),
        "size, mode",
        id="B14-duplicate",
    ),
    pytest.param(drop("data.bin"), "`.*data.bin` is missing", id="B15-missing"),
    pytest.param(drop("bin/tool"), "`bin/tool` is missing", id="B15-missing-first"),
    pytest.param(
        insert("more", header_of("small/evil.py", size=3), b"bad"), "`evil.py` is extra", id="B16-extra"
    ),
    pytest.param(lambda entries: entries[:-2] + entries[-1:] + entries[-2:-1], "is missing", id="B17-order"),
    pytest.param(
        swap(INIT, lambda name: directory_header(name, epoch=EPOCH)), "type of", id="B18-folder-for-file"
    ),
    pytest.param(insert("nul", header_of("small/a\udcff", size=0)), "is extra", id="B20-invalid-utf8"),
]


@pytest.mark.attack("archives")
@pytest.mark.parametrize(("change", "told"), HOSTILE)
def test_a_hostile_entry_is_refused_and_named(tmp_path: Path, change: Change, told: str) -> None:
    error = refused(make_bundle(tmp_path / "in", change=change), tmp_path)

    assert isinstance(error, MalformedError)
    assert re.search(told, str(error)), str(error)


@pytest.mark.attack("archives")
def test_a_changed_byte_is_named_with_both_digests(tmp_path: Path) -> None:
    def change(entries: Entries) -> None:
        place = index_of(entries, "data.bin")
        name, header, content = entries[place]
        entries[place] = (name, header, b"\xff" + content[1:])

    error = refused(make_bundle(tmp_path / "in", change=change), tmp_path)

    assert isinstance(error, IntegrityError)
    assert f"`{SITE}/pkg/data.bin` does not match the manifest" in str(error)
    assert hashlib.sha256(FILES[f"{SITE}/pkg/data.bin"]).hexdigest() in error.evidence[0]


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("end", "told"),
    [
        pytest.param(END + bytes(512), "unexpected data after its end", id="B22-third-block"),
        pytest.param(END[:512], "is truncated", id="B22-one-block"),
        pytest.param(b"x" + END[1:], "is in it twice|is extra|`x`", id="B22-not-zero"),
        pytest.param(END + b"junk", "unexpected data after its end", id="B22-trailing"),
        pytest.param(
            END + END + directory_header("two", epoch=EPOCH),
            "unexpected data after its end",
            id="B23-two-tars",
        ),
    ],
)
def test_the_end_is_exact(tmp_path: Path, end: bytes, told: str) -> None:
    path = make_bundle(tmp_path / "in")
    path.write_bytes(packed(entries_of(make_manifest(manifest_values())), end=end))

    assert re.search(told, str(refused(path, tmp_path)))


@pytest.mark.attack("archives")
def test_padding_hides_nothing(tmp_path: Path) -> None:
    """B22: bytes between the content of a file and the next header are part of no file."""

    def change(entries: Entries) -> None:
        place = index_of(entries, INIT)
        name, header, content = entries[place]
        entries[place] = (name, header, content[:-1] + b"!")

    assert "unexpected data after" in str(refused(make_bundle(tmp_path / "in", change=change), tmp_path))


@pytest.mark.attack("archives")
@pytest.mark.parametrize("codec", ["gz", "zst"])
def test_every_truncation_is_refused(tmp_path: Path, codec: Codec, record_property: Recorder) -> None:
    """B21, on the compressed bytes."""
    path = make_bundle(tmp_path, codec=codec)
    whole = path.read_bytes()
    record_property("mutants", len(range(0, len(whole), 37)))
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises((IntegrityError, MalformedError)):
            verify_bundle(path, reporter=SILENT)


@pytest.mark.attack("archives")
def test_every_flipped_bit_is_refused(tmp_path: Path, record_property: Recorder) -> None:
    """F2: with the digest beside it, no flip of any bit of the archive is accepted."""
    path = make_bundle(tmp_path)
    whole = bytearray(path.read_bytes())
    beside = path.with_name(path.name.removesuffix(".tar.gz") + ".sha256")
    beside.write_text(f"{hashlib.sha256(whole).hexdigest()}  {path.name}\n")
    assert verify_bundle(path, reporter=SILENT).companions == (beside.name,)
    record_property("mutants", len(whole))
    for place in range(len(whole)):
        whole[place] ^= 1 << (place % 8)
        path.write_bytes(whole)
        with pytest.raises(IntegrityError, match="is not the file that"):
            verify_bundle(path, reporter=SILENT)
        whole[place] ^= 1 << (place % 8)


@pytest.mark.attack("archives")
def test_flipped_bits_of_the_tar_are_refused(tmp_path: Path, record_property: Recorder) -> None:
    """Without the digest beside it, every byte of the uncompressed archive still counts."""
    manifest = make_manifest(manifest_values())
    raw = bytearray(b"".join(header + content for _, header, content in entries_of(manifest)) + END)
    path = tmp_path / f"{manifest.stem}.tar.gz"
    size = len(manifest.content)
    record_property("mutants", (len(raw) - size) // 3)
    for place in range(0, len(raw), 3):
        raw[place] ^= 0x20
        member = compressor("gz")
        path.write_bytes(member.compress(bytes(raw)) + member.flush())
        raw[place] ^= 0x20
        if 1024 <= place < 1024 + size:
            continue  # the manifest itself: another one is another bundle, told by its identity
        with pytest.raises((IntegrityError, MalformedError)):
            verify_bundle(path, reporter=SILENT)


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        pytest.param("x.tar.gz", b"PK\x03\x04" + bytes(100), "not a .tar.gz archive", id="B28-zip"),
        pytest.param("x.tar.zst", b"\x1f\x8b" + bytes(100), "not a .tar.zst archive", id="B28-gzip-as-zstd"),
        pytest.param("x.tar.gz", bytes(1024), "not a .tar.gz archive", id="B28-raw-tar"),
        pytest.param("x.whl", b"PK", "is not a bundle", id="B28-wheel"),
    ],
)
def test_another_kind_of_file_is_told(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(MalformedError, match=told):
        verify_bundle(tmp_path / name, reporter=SILENT)


@pytest.mark.attack("archives")
def test_any_other_tar_is_not_a_bundle(tmp_path: Path) -> None:
    path = tmp_path / "other.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(__file__, "some/file.py")

    with pytest.raises(MalformedError, match="is not a bundle"):
        verify_bundle(path, reporter=SILENT)


@pytest.mark.attack("archives")
def test_a_bomb_stops_at_the_manifest_size(tmp_path: Path) -> None:
    """B26: what the manifest does not list is never expanded; memory stays small."""
    manifest = make_manifest(manifest_values())
    raw = b"".join(header + content for _, header, content in entries_of(manifest)) + END
    path = tmp_path / f"{manifest.stem}.tar.zst"
    member = compressor("zst")
    with path.open("wb") as stream:
        stream.write(member.compress(raw))
        for _ in range(2000):
            stream.write(member.compress(bytes(1 << 20)))
        stream.write(member.flush())
    script = (
        "import re, sys\nfrom pathlib import Path\nfrom bundler.bundle.reader import verify_bundle\n"
        "from bundler.errors import MalformedError\nfrom bundler.reporter import SILENT\n"
        "try: verify_bundle(Path(sys.argv[1]), reporter=SILENT)\n"
        "except MalformedError as error: print(error)\n"
        # ru_maxrss would be that of the test runner it was forked from.
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    told, peak = ended.stdout.splitlines()
    assert "unexpected data after its end" in told
    assert int(peak) < 100


@pytest.mark.attack("archives")
@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_a_destination_that_is_taken_is_left_alone(tmp_path: Path, there: str) -> None:
    """B29 and B30: nothing is merged and nothing is replaced."""
    path = make_bundle(tmp_path / "in")
    dest = tmp_path / "work" / "out"
    dest.parent.mkdir()
    if there == "file":
        dest.write_text("mine")
    elif there == "folder":
        dest.mkdir()
        (dest / "mine").write_text("mine")
    else:
        dest.symlink_to(tmp_path)

    with pytest.raises(OutputError, match="already exists"):
        unpack_bundle(path, dest, reporter=SILENT)

    assert [entry.name for entry in dest.parent.iterdir()] == ["out"]
    assert dest.is_symlink() or dest.is_file() or [entry.name for entry in dest.iterdir()] == ["mine"]


@pytest.mark.attack("archives")
@pytest.mark.parametrize("dest", [".", "/", "..", "out/.", "taken", "../here"])
def test_an_existing_destination_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dest: str
) -> None:
    """A path without a name, too. The archive is not one: it is not even opened."""
    (tmp_path / "bad.tar.gz").write_bytes(b"not an archive")
    here = tmp_path / "here"
    here.mkdir()
    (here / "out").mkdir()
    (here / "taken").mkdir()
    (here / "taken" / "mine").touch()
    monkeypatch.chdir(here)

    if dest == "out/.":  # the empty directory itself
        with pytest.raises(MalformedError):
            unpack_bundle(tmp_path / "bad.tar.gz", Path(dest), reporter=SILENT)
    else:
        with pytest.raises(OutputError, match=f"^`{dest}` already exists"):
            unpack_bundle(tmp_path / "bad.tar.gz", Path(dest), reporter=SILENT)
    assert sorted(entry.name for entry in here.rglob("*")) == ["mine", "out", "taken"]


@pytest.mark.attack("archives")
def test_a_missing_parent_is_named_with_the_command_that_creates_it(tmp_path: Path) -> None:
    path = make_bundle(tmp_path)
    with pytest.raises(OutputError, match="No such file or directory") as caught:
        unpack_bundle(path, tmp_path / "a b" / "c" / "out", reporter=SILENT)

    assert caught.value.hint == f"mkdir -p '{tmp_path}/a b/c'"


def test_an_empty_destination_will_do(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "in")
    (tmp_path / "out").mkdir()

    unpack_bundle(path, tmp_path / "out", reporter=SILENT)

    assert (tmp_path / "out" / "manifest.json").is_file()


def unpacked(tmp_path: Path) -> Path:
    unpack_bundle(make_bundle(tmp_path / "in"), tmp_path / "out", reporter=SILENT)
    return tmp_path / "out"


def add_file(folder: Path) -> None:
    (folder / "lib" / "evil.py").write_text("x")


def remove_file(folder: Path) -> None:
    (folder / INIT).unlink()


def change_file(folder: Path) -> None:
    (folder / INIT).write_text("VERSION = 2\n")


def change_mode(folder: Path) -> None:
    (folder / "bin/tool").chmod(0o644)


def make_link(folder: Path) -> None:
    (folder / INIT).unlink()
    (folder / INIT).symlink_to("/etc/hostname")


def make_fifo(folder: Path) -> None:
    (folder / INIT).unlink()
    os.mkfifo(folder / INIT)


def add_folder(folder: Path) -> None:
    (folder / "extra").mkdir()


def set_mode(path: str, mode: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / path).chmod(mode)

    return damage


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (add_file, "extra    lib/evil.py"),
        (remove_file, f"missing  {INIT}"),
        (change_file, f"changed  {INIT}: its sha256 is"),
        (change_mode, "changed  bin/tool: its mode is 0644, not 0755"),
        (make_link, f"changed  {INIT}: it is not a regular file"),
        (make_fifo, f"changed  {INIT}: it is not a regular file"),
        (add_folder, "extra    extra"),
        (set_mode("bin/tool", 0o4755), "changed  bin/tool: its mode is 4755, not 0755"),
        (set_mode("bin/tool", 0o2755), "changed  bin/tool: its mode is 2755, not 0755"),
        (set_mode(INIT, 0o646), f"changed  {INIT}: its mode is 0646, not 0644"),
        (set_mode("manifest.json", 0o666), "changed  manifest.json: its mode is 0666, not 0644"),
        (set_mode("bin", 0o777), "changed  bin: its mode is 0777, not 0755"),
        (set_mode("lib", 0o1777), "changed  lib: its mode is 1777, not 0755"),
        (set_mode(".", 0o777), "changed  the directory itself: its mode is 0777, not 0755"),
    ],
)
def test_a_damaged_folder_is_refused_and_the_file_named(
    tmp_path: Path, damage: Callable[[Path], None], told: str
) -> None:
    """B34."""
    folder = unpacked(tmp_path)
    verify_bundle(folder, reporter=SILENT)
    damage(folder)

    with pytest.raises(IntegrityError) as caught:
        verify_bundle(folder, reporter=SILENT)

    assert len(caught.value.evidence) == 1
    assert caught.value.evidence[0].startswith(told)


def test_permissions_that_a_copy_may_lose_or_inherit_are_no_damage(tmp_path: Path) -> None:
    """A umask removes permissions; a directory inherits setgid from its parent."""
    folder = unpacked(tmp_path)
    for path, mode in ((INIT, 0o600), ("bin/tool", 0o700), ("bin", 0o2755), (".", 0o2750)):
        (folder / path).chmod(mode)

    assert verify_bundle(folder, reporter=SILENT).path == folder


@pytest.mark.attack("archives")
def test_a_manifest_of_another_bundle_beside_the_archive_is_told(tmp_path: Path) -> None:
    """B40."""
    path = make_bundle(tmp_path)
    beside = path.with_name(path.name.removesuffix(".tar.gz") + ".manifest.json")
    beside.write_bytes(make_manifest(manifest_values(version="2.0")).content)

    with pytest.raises(IntegrityError, match="is not the manifest inside"):
        verify_bundle(path, reporter=SILENT)


@pytest.mark.attack("archives")
def test_a_path_the_manifest_may_not_hold_is_refused_though_the_tar_agrees(tmp_path: Path) -> None:
    """B37: a manifest buys no trust in its paths."""
    values = manifest_values()
    values["files"][0]["path"] = "../../etc/passwd"
    with pytest.raises(MalformedError, match="a path is not allowed"):
        make_manifest(values)


def test_an_archive_in_many_members_is_one_stream(tmp_path: Path) -> None:
    """Segments follow each other; each entry here is a member of its own, as small as they come."""
    manifest = make_manifest(manifest_values())
    path = tmp_path / f"{manifest.stem}.tar.gz"
    pieces = []
    for _, header, content in [*entries_of(manifest), ("", END, b"")]:
        member = compressor("gz")
        pieces.append(member.compress(header + content) + member.flush())
    path.write_bytes(b"".join(pieces))

    assert verify_bundle(path, reporter=SILENT).manifest.name == "small"


def test_few_descriptors_are_enough(tmp_path: Path) -> None:
    """H22: a deep tree does not need one descriptor for each folder at once, and 64 are plenty."""
    path = make_bundle(tmp_path)
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom bundler.bundle.reader import unpack_bundle\n"
        "from bundler.reporter import SILENT\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "unpack_bundle(Path(sys.argv[1]), Path(sys.argv[2]), reporter=SILENT)\n"
    )
    argv = [sys.executable, "-c", script, str(path), str(tmp_path / "out")]
    subprocess.run(argv, check=True, timeout=60)

    shutil.rmtree(tmp_path / "out")


def test_long_and_foreign_names_survive(tmp_path: Path) -> None:
    """K25: ustar where it can, pax where it must; tar sees the same."""
    long = f"{SITE}/" + "/".join(["x" * 60] * 4) + "/ä.py"
    name = f"small/{long}"
    header = file_header(name, size=0, mode=0o644, epoch=EPOCH)
    assert len(header) in (512, 1536)
    member = tarfile.TarInfo.frombuf(header[-512:], "utf-8", "strict") if len(header) == 512 else None
    assert member is None or member.name == name
