"""The bytes of a file in chunks of bounded size, decompressed; a stream that breaks off or grows
too large is refused."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import zstandard

from plumbline.data.readers.rows import MAX_FILE_BYTES, IncompleteFile, refuse_size
from plumbline.errors import DataError

_CHUNK: Final = 2**18
# 1 KiB of Zstandard is at most 256 blocks of 4 bytes, each for 128 KiB: one step gives at most 32
# MiB.
_COMPRESSED_STEP: Final = 2**10
_MAX_WINDOW: Final = 2**27  # the largest that `zstd` writes unless it is told `--long=28` or more


def plain_chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file that is not compressed."""
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def gzip_chunks(path: Path) -> Iterator[bytes]:
    """The decompressed bytes of a gzip file, which may have several members.

    Raises:
        IncompleteFile: If it breaks off.
        DataError: If it is damaged, or holds more than `MAX_FILE_BYTES`.
    """
    total = 0
    try:
        with gzip.open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                total += len(chunk)
                if total > MAX_FILE_BYTES:
                    refuse_size(path)
                yield chunk
    except EOFError as error:
        raise IncompleteFile(
            f"{path}: the compressed file is damaged: it breaks off; wait for the rest, or fetch it"
            " again"
        ) from error
    except (OSError, zlib.error) as error:
        raise DataError(
            f"{path}: the compressed file is damaged: {error}; fetch it again"
        ) from error


def zstandard_chunks(path: Path) -> Iterator[bytes]:
    """The decompressed bytes of a Zstandard file, which may have several frames; raises as
    `gzip_chunks`."""
    total = 0
    decompressor, inside = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW), None
    try:
        with path.open("rb") as stream:
            while step := stream.read(_COMPRESSED_STEP):
                while step:
                    inside = inside or decompressor.decompressobj()
                    chunk = inside.decompress(step)
                    total += len(chunk)
                    if total > MAX_FILE_BYTES:
                        refuse_size(path)
                    if chunk:
                        yield chunk
                    step, inside = (inside.unused_data, None) if inside.eof else (b"", inside)
    except zstandard.ZstdError as error:
        raise DataError(
            f"{path}: the compressed file is damaged: {error}; fetch it again"
        ) from error
    if inside is not None:
        raise IncompleteFile(
            f"{path}: the compressed file is damaged: it breaks off; wait for the rest, or fetch it"
            " again"
        )
