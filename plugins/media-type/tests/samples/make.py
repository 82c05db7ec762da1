#!/usr/bin/env python3
"""Makes the samples beside it with nothing but Python's standard library."""

import bz2
import gzip
import io
import lzma
import pathlib
import sqlite3
import struct
import tarfile
import wave
import zipfile
import zlib

FOLDER = pathlib.Path(__file__).parent


def write(name: str, content: bytes) -> None:
    (FOLDER / name).write_bytes(content)


def archive(entries: dict[str, bytes], stored: str = "") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as target:
        for name, entry in entries.items():
            method = zipfile.ZIP_STORED if name == stored else zipfile.ZIP_DEFLATED
            target.writestr(zipfile.ZipInfo(name), entry, method)
    return content.getvalue()


def png() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\0\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def tar() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as target:
        entry = tarfile.TarInfo("notes.txt")
        entry.size = 5
        target.addfile(entry, io.BytesIO(b"hello"))
    return content.getvalue()


def sound() -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(1)
        target.setframerate(8000)
        target.writeframes(bytes(16))
    return content.getvalue()


def database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA page_size = 512")
    connection.execute("CREATE TABLE files (name TEXT)")
    return connection.serialize()


write("picture.png", png())
write("archive.tar", tar())
write("archive.tar.gz", gzip.compress(tar(), mtime=0))
write("notes.bz2", bz2.compress(b"hello"))
write("notes.xz", lzma.compress(b"hello"))
write("sound.wav", sound())
write("data.sqlite", database())
write("archive.zip", archive({"notes.txt": b"hello"}))
write("program.jar", archive({"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\n", "Main.class": b"\xca\xfe\xba\xbe"}))
for name, folder in [("document.docx", "word/document"), ("sheet.xlsx", "xl/workbook"), ("slides.pptx", "ppt/presentation")]:
    entries = ["[Content_Types].xml", "_rels/.rels", "docProps/app.xml", "docProps/core.xml", f"{folder}.xml"]
    write(name, archive({entry: b"<?xml version='1.0'?><a/>" for entry in entries}))
for name, kind in [
    ("text.odt", b"application/vnd.oasis.opendocument.text"),
    ("drawing.odg", b"application/vnd.oasis.opendocument.graphics"),
    ("book.epub", b"application/epub+zip"),
]:
    write(name, archive({"mimetype": kind, "content.xml": b"<a/>"}, stored="mimetype"))
