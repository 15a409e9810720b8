"""Reads a TensorBoard event file as its format is published, trusting nothing of Unbraid: prints
one JSON object a record. Any checksum, field or type that is not as expected ends it."""

import json
import struct
import sys


def crc32c(data):
    """Bit by bit, as the polynomial says."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def unmasked(masked):
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated << 15) | (rotated >> 17)) & 0xFFFFFFFF


def records(data):
    at = 0
    while at < len(data):
        head = data[at : at + 12]
        assert len(head) == 12, f"byte {at}: the file ends within a length"
        length, check = struct.unpack("<QI", head)
        assert crc32c(head[:8]) == unmasked(check), f"byte {at}: checksum of the length"
        content = data[at + 12 : at + 12 + length]
        tail = data[at + 12 + length : at + 16 + length]
        assert len(content) == length and len(tail) == 4, f"byte {at}: the file ends in a record"
        assert crc32c(content) == unmasked(struct.unpack("<I", tail)[0]), f"byte {at}: checksum"
        yield content
        at += 16 + length


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """(number, wire type, value) of a protocol buffer's message."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(wire)
            if size is None:
                assert wire == 2, f"wire type {wire}"
                size, at = varint(data, at)
            value, at = data[at : at + size], at + size
            assert len(value) == size, "the message ends within a field"
        yield key >> 3, wire, value


def scalars(summary):
    found = []
    for number, wire, content in fields(summary):
        assert (number, wire) == (1, 2), "Summary.value"
        value = {}
        for key, kind, item in fields(content):
            assert (key, kind) in {(1, 2), (2, 5)}, "Value.tag, Value.simple_value"
            value[key] = item
        found.append((value[1].decode(), struct.unpack("<f", value[2])[0]))
    assert len({tag for tag, _ in found}) == len(found), "a tag twice"
    return dict(found)


def event(content):
    read = {"step": 0}
    for number, wire, value in fields(content):
        if (number, wire) == (1, 1):
            read["wall_time"] = struct.unpack("<d", value)[0]
        elif (number, wire) == (2, 0):
            read["step"] = value
        elif (number, wire) == (3, 2):
            read["file_version"] = value.decode()
        else:
            assert (number, wire) == (5, 2), f"field {number} of type {wire}"
            read["scalars"] = scalars(value)
    return read


assert crc32c(b"123456789") == 0xE3069283
with open(sys.argv[1], "rb") as file:
    for record in records(file.read()):
        print(json.dumps(event(record)))
