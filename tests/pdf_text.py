"""The text of each page of a PDF that Chromium printed: enough of the format for that (ISO 32000-1, 7.3 and 9.10.3)."""

from __future__ import annotations

import re
import zlib

OBJECT = re.compile(rb"(?:^|\n)(\d+) 0 obj\s(.*?)\nendobj", re.DOTALL)
STREAM = re.compile(rb"stream\r?\n(.*)", re.DOTALL)
SHOWN = re.compile(rb"/(F\d+) [\d.]+ Tf|<([0-9A-Fa-f]+)> Tj|(?<![\w>])(ET)\b")


def pages(pdf: bytes) -> list[str]:
    """The text of each page, a line per block of text."""
    objects = {int(number): body for number, body in OBJECT.findall(pdf)}
    found = [body for body in objects.values() if re.search(rb"/Type\s*/Page\b", body)]
    return [_text(objects, body) for body in found]


def _text(objects: dict[int, bytes], page: bytes) -> str:
    content = _stream(objects[_reference(page, b"Contents")])
    fonts = {name.decode(): _letters(objects, int(number)) for name, number in re.findall(rb"/(F\d+) (\d+) 0 R", page)}
    said, letters = "", dict[int, str]()
    for font, glyphs, end in SHOWN.findall(content):
        if font:
            letters = fonts[font.decode()]
        elif end:
            said += "\n"
        else:
            said += "".join(letters.get(int(glyphs[at : at + 4], 16), "?") for at in range(0, len(glyphs), 4))
    return said


def _letters(objects: dict[int, bytes], font: int) -> dict[int, str]:
    """Letters by glyph, from a font's ToUnicode table."""
    table = _stream(objects[_reference(objects[font], b"ToUnicode")]).decode()
    found: dict[int, str] = {}
    for block in re.findall(r"beginbfchar(.*?)endbfchar", table, re.DOTALL):
        found |= {int(a, 16): _utf16(b) for a, b in re.findall(r"<(\w+)> <(\w+)>", block)}
    for block in re.findall(r"beginbfrange(.*?)endbfrange", table, re.DOTALL):
        for first, last, start in re.findall(r"<(\w+)> <(\w+)> <(\w+)>", block):
            found |= {
                glyph: chr(int(start, 16) + glyph - int(first, 16))
                for glyph in range(int(first, 16), int(last, 16) + 1)
            }
    return found


def _utf16(text: str) -> str:
    return bytes.fromhex(text).decode("utf-16-be")


def _reference(body: bytes, name: bytes) -> int:
    found = re.search(rb"/" + name + rb" (\d+) 0 R", body)
    assert found, name
    return int(found[1])


def _stream(body: bytes) -> bytes:
    found = STREAM.search(body)
    assert found
    return zlib.decompressobj().decompress(found[1]) if b"/FlateDecode" in body else found[1]
