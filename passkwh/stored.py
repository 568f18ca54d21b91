"""JSON as it is stored: lines, and small files, with checksums.

A stored line or file is one object that carries the CRC-32 of what it was written as in its last member. It is still
JSON, and one without a checksum, as older programs wrote it, is still read. A checksum finds damage, not forgery.
"""

from __future__ import annotations

import re
import zlib

_MARK = b',"crc32":"'
_LENGTH = len(_MARK) + len('00000000"}')
_MEMBER = re.compile(rb'"crc32"\s*:')


def seal(line: str) -> bytes:
    """A JSON object with its checksum: of all that stands before it.

    >>> seal('{"a":1}')
    b'{"a":1,"crc32":"a702fc6e"}'
    """
    head = line.encode()[:-1].rstrip()
    return b'%s%s%08x"}' % (head, _MARK, zlib.crc32(head))


def unseal(line: bytes) -> bytes:
    """The object as it was before :func:`seal`; one without a checksum as it stands.

    Raises:
        ValueError: it is not what was written.
    """
    return line[:-_LENGTH] + b"}" if is_sealed(line, 0, len(line)) else line


def is_sealed(content: bytes, start: int, end: int) -> bool:
    """Whether the object there has a checksum. Raises ValueError where that is not its own."""
    head = end - _LENGTH
    if content.startswith(_MARK, head):
        if content.startswith(b'%08x"}' % zlib.crc32(memoryview(content)[start:head]), end - 10):
            return True
    elif not _MEMBER.search(content, start, end):  # in a text the quotes would be escaped
        return False
    raise ValueError("its checksum does not match: it was changed after it was written")
