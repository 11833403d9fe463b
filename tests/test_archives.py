"""Archives of others: what is right is extracted whole; what is not leaves nothing, and says why in one line."""

from __future__ import annotations

import errno
import gzip
import io
import os
import random
import stat
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile, ZipInfo

import pytest

from condgen.data import archives
from condgen.data.archive_entries import ArchiveError, Door, entries
from condgen.data.archives import expand_gzip, extract

FILES = {"a/1.txt": b"one" * 1000, "a/b/2.txt": b"two", "none.txt": b"", "ä ö.txt": bytes(range(256))}


def zipped(path: Path, files: dict[str, bytes] = FILES, compression: int = ZIP_DEFLATED) -> Path:
    with ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(ZipInfo(name), content, compression)
    return path


def tarred(path: Path, files: dict[str, bytes] = FILES, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            archive.addfile(entry(name, size=len(content)), io.BytesIO(content))
    return path


def entry(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def read(archive: Path) -> dict[str, bytes]:
    return {found.name: b"".join(found.blocks()) for found in entries(Door(archive))}


def members(archive: Path) -> list[tuple[str, int]]:
    return [(found.name, found.size) for found in entries(Door(archive))]


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, **limits: int) -> str:
    """Return the one line that refuses an archive, which nothing is left of, and that reading in place says as well."""
    out = archive.parent / "out" / "set"
    out.parent.mkdir(exist_ok=True)
    with pytest.raises(ArchiveError) as caught:
        extract(archive, out, **limits)  # type: ignore[arg-type]
    assert os.listdir(out.parent) == []
    line = str(caught.value)
    assert "\n" not in line
    assert str(archive) in line
    if not limits:
        with pytest.raises(ArchiveError) as caught:
            read(archive)
        assert str(caught.value) == line
    return line


@pytest.mark.parametrize(
    "make",
    [
        zipped,
        lambda path: zipped(path, compression=ZIP_STORED),
        tarred,
        lambda path: tarred(path, mode="w"),
        lambda path: tarred(path, mode="w:bz2"),
        lambda path: tarred(path, mode="w:xz"),
    ],
    ids=["deflated", "stored", "tgz", "tar", "bz2", "xz"],
)
def test_good_archives_are_extracted_listed_and_read(make: Callable[[Path], Path], tmp_path: Path) -> None:
    archive = make(tmp_path / "archive")
    assert content(extract(archive, tmp_path / "new" / "set")) == FILES
    assert os.listdir(tmp_path / "new") == ["set"]
    assert members(archive) == [(name, len(body)) for name, body in FILES.items()]
    assert read(archive) == FILES
    assert content(extract(archive, tmp_path / "inner", inner="a")) == {"1.txt": FILES["a/1.txt"], "b/2.txt": b"two"}
    with pytest.raises(ArchiveError, match=r"holds no file below a/b/c"):
        extract(archive, tmp_path / "none", inner="a/b/c")
    with pytest.raises(FileExistsError, match=r"inner is there already"):
        extract(archive, tmp_path / "inner")
    with pytest.raises(FileNotFoundError, match=r"no archive .*nowhere"):
        members(tmp_path / "nowhere")


def test_what_tar_makes_of_a_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "1.sh").write_bytes(b"1")
    (tmp_path / "set" / "a" / "1.sh").chmod(0o4777)
    subprocess.run(["tar", "czf", "../set.tgz", "."], check=True, cwd=tmp_path / "set")
    out = extract(tmp_path / "set.tgz", tmp_path / "out")
    assert content(out) == {"a/1.sh": b"1"}
    assert not (out / "a" / "1.sh").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


NAMES = {
    "../up.txt": "leads out of its folder by ..",
    "a/../../up.txt": "leads out of its folder by ..",
    "a/..": "leads out of its folder by ..",
    "/etc/up.txt": "is an absolute name",
    "//host/up.txt": "is an absolute name",
    "C:/up.txt": "is an absolute name",
    "c:up.txt": "is an absolute name",
    "..\\up.txt": "has a backslash",
    "\\\\host\\up.txt": "has a backslash",
    "a\nb.txt": "has control characters",
}


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_out_are_refused(make: Callable[..., Path], name: str, tmp_path: Path) -> None:
    archive = make(tmp_path / "archive", FILES | {name: b"bad"})
    line = refused(archive)
    assert line.startswith(f"{name!r} in {archive} {NAMES[name]}")
    with pytest.raises(ArchiveError):
        members(archive)


def test_a_name_that_a_null_byte_shortens_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.jpgX.exe": b"1"})
    archive.write_bytes(archive.read_bytes().replace(b"a.jpgX", b"a.jpg\0"))
    assert "has control characters" in refused(archive)
    assert "no letters at all" in refused(zipped(tmp_path / "b.zip", {"": b"1"}))


@pytest.mark.parametrize("make", [zipped, tarred])
def test_two_members_in_one_place_are_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    assert "'./a/1.txt' is in" in refused(make(tmp_path / "twice", FILES | {"./a/1.txt": b"other"}))
    file_and_folder = make(tmp_path / "both", {"a": b"file", "a/1.txt": b"in a file"})
    with pytest.raises(ArchiveError, match=r"'a/1.txt' in .* has the place of another member"):
        extract(file_and_folder, tmp_path / "new" / "set")
    assert os.listdir(tmp_path / "new") == []


KINDS = {
    tarfile.SYMTYPE: "is a link",
    tarfile.LNKTYPE: "is a hard link",
    tarfile.CHRTYPE: "is a device",
    tarfile.BLKTYPE: "is a device",
    tarfile.FIFOTYPE: "is a pipe",
    tarfile.GNUTYPE_SPARSE: "is a sparse file",
    b"Z": "is of unknown type b'Z'",
}


@pytest.mark.parametrize("kind", KINDS)
def test_links_and_devices_in_tar_files_are_refused(kind: bytes, tmp_path: Path) -> None:
    for target in ("/etc/passwd", "a/1.txt"):
        with tarfile.open(tmp_path / "set.tar", "w") as archive:
            archive.addfile(entry("a/1.txt", size=1), io.BytesIO(b"1"))
            archive.addfile(entry("bad", type=kind, linkname=target))
            archive.addfile(entry("bad/2.txt", size=1), io.BytesIO(b"1"))
        assert f"'bad' in {tmp_path / 'set.tar'} {KINDS[kind]}; only plain files" in refused(tmp_path / "set.tar")


def test_links_devices_and_ciphers_in_zip_files_are_refused(tmp_path: Path) -> None:
    for mode, kind in ((stat.S_IFLNK, "a link"), (stat.S_IFCHR, "a device"), (stat.S_IFIFO, "a device")):
        info = ZipInfo("bad")
        info.external_attr = (mode | 0o777) << 16
        with ZipFile(tmp_path / "set.zip", "w") as archive:
            archive.writestr("a/1.txt", b"1")
            archive.writestr(info, b"/etc/passwd")
        assert f"'bad' in {tmp_path / 'set.zip'} is {kind}; " in refused(tmp_path / "set.zip")
    locked = zipped(tmp_path / "locked.zip", {"a.txt": b"1"})
    patch(locked, b"PK\1\2", 8, b"\1\0")
    patch(locked, b"PK\3\4", 6, b"\1\0")
    assert "'a.txt' in" in (line := refused(locked))
    assert "is encrypted" in line
    for method in (ZIP_BZIP2, ZIP_LZMA):
        line = refused(zipped(tmp_path / f"{method}.zip", compression=method))
        assert f"is compressed by method {method}, not by deflate" in line


def patch(archive: Path, magic: bytes, offset: int, value: bytes, last: bool = False) -> None:
    body = bytearray(archive.read_bytes())
    start = (body.rindex(magic) if last else body.index(magic)) + offset
    body[start : start + len(value)] = value
    archive.write_bytes(body)


@pytest.mark.parametrize("make", [zipped, tarred])
def test_bombs_are_refused_before_they_expand(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("condgen.data.archive_entries.FLOOR", 63 << 20)
    archive = make(tmp_path / "bomb", {"0": b"", "zeros": bytes(64 << 20)})
    assert archive.stat().st_size < 100_000
    tracemalloc.start()
    line = refused(archive)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert line == f"{archive} would expand to more than {63 << 20:,} bytes, with 'zeros'"
    assert peak < 8 << 20


@pytest.mark.parametrize("make", [zipped, tarred])
def test_limits_of_bytes_members_and_ratio(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = make(tmp_path / "many", {str(i): b"x" * 1000 for i in range(20)})
    assert "holds more than 19 members" in refused(many, max_members=19)
    assert "would expand to more than 15,000 bytes" in refused(many, max_bytes=15_000)
    assert len(content(extract(many, tmp_path / "new", max_members=20, max_bytes=60_000))) == 20
    dense = make(tmp_path / "dense", {"zeros": bytes(4 << 20)})
    assert members(dense) == [("zeros", 4 << 20)]  # small, so its ratio does not matter
    monkeypatch.setattr("condgen.data.archive_entries.FLOOR", 1000)
    allowed = 200 * dense.stat().st_size
    assert f"more than {allowed:,} bytes" in refused(dense)
    assert members(many)


def test_members_that_lie_about_their_size_are_refused_in_little_memory(tmp_path: Path) -> None:
    body = bytes(64 << 20)
    for name, size in (("less", 100), ("more", (64 << 20) + 1)):
        archive = zipped(tmp_path / f"{name}.zip", {"liar": body})
        for magic, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
            patch(archive, magic, offset, size.to_bytes(4, "little"), last=magic == b"PK\1\2")
        tracemalloc.start()
        with pytest.raises(
            ArchiveError, match=r"'liar' in .* (is damaged: Bad CRC|has 67,108,864 bytes, not 67,108,865)"
        ):
            extract(archive, tmp_path / "out")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
        tracemalloc.stop()
        assert not (tmp_path / "out").exists()


def test_heads_of_tar_files_cannot_take_the_memory_or_loop(tmp_path: Path) -> None:
    def write(info: tarfile.TarInfo, body: bytes) -> Path:
        archive = tmp_path / "head.tgz"
        with gzip.open(archive, "wb", compresslevel=1) as file:
            file.write(info.tobuf(tarfile.GNU_FORMAT) + body + bytes(1024))
        return archive

    tracemalloc.start()
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE):
        assert "has a head of more than" in refused(write(entry("long", type=kind, size=100 << 20), bytes(1 << 20)))
        assert "has a head of more than" in refused(write(entry("long", type=kind, size=-1024), b""))
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()
    assert "would expand to more" in refused(write(entry("file", size=-512), b""))
    assert "would expand to more" in refused(write(entry("file", size=1 << 40), b""))
    nested = entry("long", type=tarfile.GNUTYPE_LONGNAME, size=512).tobuf(tarfile.GNU_FORMAT) + bytes(512)
    archive = tmp_path / "nested.tar"
    archive.write_bytes(nested * 3000 + bytes(1024))
    assert "recursion depth exceeded" in refused(archive)


@pytest.mark.parametrize("make", [zipped, tarred, lambda path: tarred(path, mode="w")], ids=["zip", "tgz", "tar"])
def test_cut_archives_leave_nothing(make: Callable[[Path], Path], tmp_path: Path) -> None:
    whole = make(tmp_path / "whole").read_bytes()
    archive = tmp_path / "cut"
    steps = range(1, len(whole), 17) if len(whole) < 5000 else range(256, 7000, 256)  # a tar file ends in zeros
    for length in steps:
        archive.write_bytes(whole[:length])
        assert "whole" in (line := refused(archive)) or "damaged" in line


@pytest.mark.parametrize("make", [zipped, tarred], ids=["zip", "tgz"])
def test_no_flipped_byte_changes_what_is_read(make: Callable[[Path], Path], tmp_path: Path) -> None:
    whole = make(tmp_path / "whole").read_bytes()
    archive, source, refusals = tmp_path / "flipped", random.Random(0), 0
    for place in range(len(whole)):
        body = bytearray(whole)
        body[place] ^= source.randrange(1, 256)
        archive.write_bytes(body)
        try:
            found = read(archive)
        except ArchiveError:
            refusals += 1
        else:
            assert found == FILES, place
    assert refusals > len(whole) / 3


def test_what_is_no_archive_is_said(tmp_path: Path) -> None:
    for number, body in enumerate(
        [b"", b"text" * 500, b"PK", b"PK\3\4" + bytes(100), b"\x1f\x8b" + bytes(50), b"BZh9"]
    ):
        archive = tmp_path / str(number)
        archive.write_bytes(body)
        kind = "a whole zip file" if body.startswith(b"PK") else "a whole tar file"
        assert kind in refused(archive)
    empty = zipped(tmp_path / "empty.zip", {})
    with pytest.raises(ArchiveError, match="holds no file"):
        extract(empty, tmp_path / "out" / "set")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    archive, out = zipped(tmp_path / "a.zip"), tmp_path / "new" / "out"
    with monkeypatch.context() as patched:
        patched.setattr(os, "sync", full)
        with pytest.raises(OSError, match=f"{out} cannot be written: No space left on device"):
            extract(archive, out)
    assert os.listdir(out.parent) == []
    assert content(extract(archive, out)) == FILES


KILLED = """
import sys, time
from pathlib import Path
from condgen.data import archives
write = archives._write
def slowly(*args):
    write(*args)
    print("one", flush=True)
    sys.stdin.readline()
archives._write = slowly
archives.extract(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_killed_extraction_leaves_no_folder_and_of_two_one_stays(tmp_path: Path) -> None:
    archive, out = zipped(tmp_path / "a.zip"), tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(archive), str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline() == b"one\n"
    with process:
        process.kill()
    assert not out.exists()
    (left,) = (path for path in tmp_path.iterdir() if path != archive)
    assert left.name.startswith(".out.")
    assert len(content(left)) == 1

    def twice(*args: object) -> None:  # another process makes the folder while this one is at it
        write(*args)  # type: ignore[arg-type]
        if not out.exists():
            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(archives, "_write", write)
                extract(archive, out)
            (out / "first").touch()

    write = archives._write
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(archives, "_write", twice)
        assert extract(archive, out) == out
    assert content(out) == FILES | {"first": b""}
    assert len(list(tmp_path.iterdir())) == 3


def test_gzip_files_are_expanded_whole_or_not_at_all(tmp_path: Path) -> None:
    archive, out = tmp_path / "a.gz", tmp_path / "new" / "a"
    body = bytes(3 << 20)
    archive.write_bytes(gzip.compress(body))
    assert expand_gzip(archive, out, len(body)).read_bytes() == body
    out.unlink()
    for content_, limit, reason in (
        (gzip.compress(body), len(body) - 1, "would expand to more than 3,145,727 bytes"),
        (gzip.compress(body)[:-9], len(body), "is not a whole gzip file: "),
        (gzip.compress(body)[:-4] + b"size", len(body), "is not a whole gzip file: Incorrect length"),
        (b"text", 10, "is not a whole gzip file: Not a gzipped file"),
    ):
        archive.write_bytes(content_)
        with pytest.raises(ArchiveError, match=f"{archive} {reason}"):
            expand_gzip(archive, out, limit)
        assert os.listdir(out.parent) == []
