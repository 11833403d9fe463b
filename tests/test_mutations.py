"""A thousand damaged files: each becomes pixels or a `DecodeError` that names it, in little memory."""

from __future__ import annotations

import json
import random
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_decode import NOISE, chunk, encoded, png

from condgen.cli import main
from condgen.data import DamagedImagesError, ImageFolder
from condgen.data.decode import DecodeError, decode

MEGABYTE = 1 << 20


def originals() -> dict[str, bytes]:
    picture = Image.fromarray(NOISE)
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [picture.transpose(Image.Transpose.ROTATE_180)]}
    return {
        "a.jpg": encoded(picture, "JPEG", exif=exif),
        "b.jpg": encoded(picture, "JPEG", progressive=True),
        "c.jpg": encoded(picture.convert("CMYK"), "JPEG"),
        "a.png": encoded(picture, "PNG", exif=exif),
        "b.png": encoded(picture.quantize(16), "PNG", transparency=3),
        "c.png": encoded(Image.fromarray(NOISE[..., 0].astype(np.uint16) * 200), "PNG"),
        "d.png": encoded(picture, "PNG", **frames),
        "a.gif": encoded(picture, "GIF", **frames),
        "a.bmp": encoded(picture, "BMP"),
        "a.ppm": encoded(picture, "PPM"),
        "a.webp": encoded(picture, "WEBP", **frames),
        "b.webp": encoded(picture.convert("RGBA"), "WEBP", lossless=True, exif=exif),
        "a.tif": encoded(picture, "TIFF"),
        "b.tif": encoded(picture, "TIFF", compression="tiff_lzw"),
        "c.tif": encoded(picture, "TIFF", compression="jpeg"),
    }


def bombs() -> dict[str, bytes]:
    """Small files that say, or hold, far too much."""
    zeros = packed(20)
    huge = struct.pack("<I", 1 << 30)
    jpeg, bmp, webp, gif, tiff = (
        encoded(Image.fromarray(NOISE), form) for form in ("JPEG", "BMP", "WEBP", "GIF", "TIFF")
    )
    size = struct.pack("<HH", *NOISE.shape[1::-1])
    place = jpeg.index(b"\xff\xc0") + 5
    return {
        "pixels.png": png(20000, 20000, 1, 0, b"", chunk(b"IDAT", packed(48))),
        "text.png": png(1, 1, 8, 0, b"\0\0", chunk(b"zTXt", b"Comment\0\0" + zeros)),
        "texts.png": png(1, 1, 8, 0, b"\0\0", *[chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 900_000))] * 200),
        "profile.png": png(1, 1, 8, 0, b"\0\0", chunk(b"iCCP", b"profile\0\0" + zeros)),
        "rows.png": png(1, 1, 8, 0, b"", chunk(b"IDAT", packed(20))),
        "head.jpg": jpeg[:place] + struct.pack(">HH", 65500, 65500) + jpeg[place + 4 :],
        "below.jpg": jpeg[:place] + struct.pack(">HH", 7900, 7900) + jpeg[place + 4 :],
        "head.bmp": bmp[:18] + huge * 2 + bmp[26:],
        "head.webp": webp.replace(size, b"\xff\x3f\xff\x3f"),
        "head.gif": gif[:6] + b"\xff" * 4 + gif[10:],
        "frame.gif": gif.replace(b"," + b"\0" * 4 + size, b"," + b"\0" * 4 + b"\xff" * 4),
        "head.tif": tiff.replace(struct.pack("<HHII", 256, 4, 1, 48), struct.pack("<HHII", 256, 4, 1, 1 << 30)),
        "head.ppm": b"P6 100000 100000 255\n",
        "digits.ppm": b"P3 7000 7000 255\n" + b"9" * MEGABYTE,
    }


def foreign() -> list[bytes]:
    picture, other = Image.fromarray(NOISE), [b"", b"\0" * 1000, b"GIF89a", b"\xff\xd8\xff", b"BM", b"II*\0", b"P6"]
    forms = [encoded(picture, form) for form in ("ICO", "TGA", "EPS", "PDF", "PCX", "ICNS", "JPEG2000", "DDS", "SGI")]
    return [*other, *forms, b"name,label\n" * 50, "Grüße\n".encode("utf-16"), b"PK\x03\x04" + bytes(100), b"<svg/>"]


def mutate(content: bytes, draw: random.Random) -> bytes:
    """Cut, flip bits, overwrite, repeat, leave out, or lengthen."""
    kind, place = draw.randrange(6), draw.randrange(len(content))
    if kind == 0:
        return content[:place]
    if kind == 1:
        broken = bytearray(content)
        for _ in range(draw.choice((1, 3, 30))):
            broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
        return bytes(broken)
    if kind == 2:
        broken = bytearray(content)
        near = min(place, draw.choice((60, len(content))))  # heads are damaged more often than chance would
        broken[near : near + 4] = draw.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", draw.randbytes(4)))
        return bytes(broken)
    if kind == 3:
        return content[:place] + content[place // 2 :]
    if kind == 4:
        return content[: place // 2] + content[place:]
    return content + draw.randbytes(100)


def packed(megabytes: int) -> bytes:
    """Zeros under zlib's compression, which never stand in memory all at once."""
    packer = zlib.compressobj()
    return b"".join(packer.compress(bytes(MEGABYTE)) for _ in range(megabytes)) + packer.flush()


def damaged_files(seed: int) -> list[tuple[str, bytes]]:
    draw, whole = random.Random(seed), originals()
    files = [(f"{number}-{name}", mutate(whole[name], draw)) for number in range(66) for name in whole]
    files += [(f"renamed-{place}.png", content) for place, content in enumerate(foreign())]
    return [*files, *bombs().items()]


def train_on_all(seed: int, folder: Path) -> dict[str, Any]:
    """Go through an epoch of them as a data set, from the array and file by file, and tell how it went."""
    for place, (name, content) in enumerate(damaged_files(seed)):
        path = folder / "set" / "ab"[place % 2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    root, seen = str(folder / "set"), []
    before = peak()
    for limit in (8.0, 0.0):
        data = ImageFolder(root, 32, on_error="skip", cache_gib=limit, workers=0)
        data.prepare_data()
        splits = ("train", "validation", "test")
        seen.append([sum(len(rows) for rows in data.images(split).blocks()) for split in splits])
        batches = sum(1 for _ in data.train_dataloader())
    growth = max(peak() - before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024 - before)
    try:
        ImageFolder(root, 32).prepare_data()
    except DamagedImagesError as error:
        named = str(error)
    return {"seen": seen, "batches": batches, "growth": growth, "error": named}


def decode_all(seed: int) -> dict[str, Any]:
    """Decode them, and tell how it went."""
    files = damaged_files(seed)
    before, errors, decoded = peak(), [], 0
    for place, (name, content) in enumerate(files):
        try:
            pixels = decode(content, channels=(1, 3)[place % 2], name=name)
        except DecodeError as error:
            errors.append((name, str(error)))
        else:
            decoded += 1
            assert pixels.shape[0] == (1, 3)[place % 2]
            assert pixels[0].numel() <= 64_000_000
    return {"files": len(files), "decoded": decoded, "errors": errors, "growth": peak() - before}


def peak() -> float:
    """The most memory that this process ever held, in MB; what its parent held is not counted."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE


def test_a_thousand_damaged_files_are_decoded_or_named() -> None:
    """In a process of their own, whose memory is theirs."""
    ran = subprocess.run([sys.executable, __file__, "0"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    out = json.loads(ran.stdout)
    assert out["files"] >= 1000
    assert out["decoded"] > 100
    assert len(out["errors"]) > 500
    assert not [line for name, line in out["errors"] if not line.startswith(f"{name}: ") or "\n" in line]
    assert out["growth"] < 300
    assert set(bombs()) - {name for name, _ in out["errors"]} == {"rows.png"}  # a pixel, and more that is not looked at


def test_an_epoch_of_a_thousand_damaged_files_goes_on_without_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDGEN_CACHE", str(tmp_path / "cache"))
    ran = subprocess.run([sys.executable, __file__, "0", str(tmp_path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    out = json.loads(ran.stdout.splitlines()[-1])
    assert out["seen"][0] == out["seen"][1]
    whole, batches = sum(out["seen"][0]), out["seen"][0][0] // 64
    assert whole > 300
    assert out["batches"] == batches
    assert out["growth"] < 300
    assert "and 6" in out["error"] or "and 5" in out["error"]
    assert main(["data", "check", str(tmp_path / "set"), "--all"]) == 1
    listed = capsys.readouterr().out
    count = int(listed.partition("\nwrong")[2].split()[0])
    assert whole + count >= 1000
    named = [line for line in listed.splitlines() if line.startswith(f"  {tmp_path}/set/")]
    assert len(named) == len(set(named)) == int(out["error"].split()[0].replace(",", ""))


def test_originals_are_whole() -> None:
    assert {decode(content, channels=3).shape for content in originals().values()} == {(3, 40, 48), (3, 48, 40)}
    assert all(len(content) < MEGABYTE for content in originals().values())


if __name__ == "__main__":
    work = decode_all(int(sys.argv[1])) if len(sys.argv) == 2 else train_on_all(int(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps(work))
