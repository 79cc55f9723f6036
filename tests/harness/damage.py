"""Changing bytes of stripes on disk."""

import struct

PAGE = 8192


def stripe_bytes(server, table):
    """Stretches of the companion's file that hold bytes of stripes, stream by stream: path, offset, length."""
    path = server.scalar(f"SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = '{table}'::regclass")
    file = server.data / path
    contents = file.read_bytes()
    found = []
    for start in range(0, len(contents), PAGE):
        found += [(key, (file, start + offset, length)) for key, offset, length in _pieces(contents[start:start + PAGE])]
    return [place for _, place in sorted(found)]


def _pieces(page):
    """Of the blob tuples of a page: stream and piece, and offset and length of what they carry."""
    lower = struct.unpack_from("<H", page, 12)[0]
    for pointer in range(24, lower, 4):
        word = struct.unpack_from("<I", page, pointer)[0]
        offset, flags, length = word & 0x7FFF, word >> 15 & 3, word >> 17
        if flags != 1 or length == 0:
            continue
        data = offset + page[offset + 22]
        identifier, sequence = struct.unpack_from("<Ii", page, data)
        if sequence >= 0:
            continue
        header = 1 if page[data + 8] & 1 else 4
        if offset + length > data + 8 + header:
            # Streams count down.
            yield (-identifier, sequence), data + 8 + header, offset + length - data - 8 - header


def flip(file, offset, length, rng):
    """Changes one byte of a stretch; says which."""
    at = offset + rng.randrange(length)
    with open(file, "r+b") as target:
        target.seek(at)
        old = target.read(1)[0]
        new = old ^ rng.randrange(1, 256)
        target.seek(at)
        target.write(bytes([new]))
    return f"byte {at} of {file.name}: {old} became {new}"


def without_checksums(server):
    """Takes core's checksums, which would find everything first, from a server that is going to be damaged, and installs the extension."""
    server.stop()
    server.run("pg_checksums", "--disable", "-D", server.data)
    server.start()
    server.damaged = True
    server.query("CREATE EXTENSION orochi")
