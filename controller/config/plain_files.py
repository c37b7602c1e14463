"""Files that a person names: opened only where they are files, so that no pipe or device keeps a command waiting."""

from __future__ import annotations

import os
import stat
from io import BufferedReader, FileIO
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "is a directory; name a file in it"),
    (stat.S_ISFIFO, "is a pipe, not a file; save its output to a file, and name that"),
    (stat.S_ISCHR, "is a device, not a file; name a file"),
    (stat.S_ISBLK, "is a device, not a file; name a file"),
    (stat.S_ISSOCK, "is a socket, not a file; name a file"),
)

_PACKED = (
    (b"\x1f\x8b", "gzip", "gzip -d"),
    (b"BZh", "bzip2", "bzip2 -d"),
    (b"\xfd7zXZ\0", "xz", "xz -d"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -d"),
    (b"PK\x03\x04", "zip", "unzip"),
)
"""How a compressed file begins, what it was compressed with, and what unpacks it."""
LONGEST_MARK = max(len(mark) for mark, _, _ in _PACKED)
_LONGEST_NAME = 300


class CannotReadError(Exception):
    """What is in the way, and what to do about it. line: from 1, where it is known."""

    def __init__(self, text: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(text)


def opened(path: Path, *, missing: str) -> BufferedReader:
    """The file, from its first byte. missing: what to do where there is none.

    Raises:
        CannotReadError: there is no such file, it is none, or it may not be read.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits until another process writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise CannotReadError(f"there is no such file; {missing}") from None
    except ValueError:
        raise CannotReadError("is not a valid file name: it holds a NUL character; name the file") from None
    except OSError as error:
        raise CannotReadError(in_words(error)) from None
    mode = os.fstat(descriptor).st_mode
    for is_kind, problem in _KINDS:
        if is_kind(mode):
            os.close(descriptor)
            raise CannotReadError(problem)
    return BufferedReader(FileIO(descriptor))


def in_words(error: OSError) -> str:
    """What keeps a file from being read."""
    if isinstance(error, PermissionError):
        return f"cannot be read: {error.strerror}; chmod it, or run as its owner"
    return f"cannot be read: {error.strerror or error}; name another file"


def shown(path: Path) -> str:
    """Its name on one line, whatever bytes are in it."""
    name = os.fsencode(path).decode(errors="replace") if "\0" not in str(path) else str(path)
    return "".join(letter if letter.isprintable() else "?" for letter in name[:_LONGEST_NAME])


def read(path: Path, most: int, *, missing: str) -> bytes:
    """All of a file, which has at most that many bytes.

    Raises:
        CannotReadError: also where it is longer; no more of it is read then.
    """
    with opened(path, missing=missing) as file:
        try:
            data = file.read(most + 1)
        except OSError as error:
            raise CannotReadError(in_words(error)) from None
    if len(data or b"") > most:
        raise CannotReadError(f"is longer than {most:,} bytes, the most that is read; name the right file")
    return data or b""


def refuse_packed(start: bytes) -> None:
    """start: at least the first LONGEST_MARK bytes of a file.

    Raises:
        CannotReadError: the file is compressed.
    """
    for mark, name, command in _PACKED:
        if start.startswith(mark):
            raise CannotReadError(f"is compressed with {name}; unpack it, with `{command} FILE`, and name the result")


def text_of(data: bytes) -> str:
    """Of a file in UTF-8.

    Raises:
        CannotReadError: it is in another encoding, or compressed.
    """
    refuse_packed(data)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
        raise CannotReadError("is UTF-16 or UTF-32; save it as UTF-8")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        words = f"holds a byte that is not UTF-8 (0x{data[error.start]:02x}); save it as UTF-8"
        raise CannotReadError(words, data.count(b"\n", 0, error.start) + 1) from None
