"""The vectors of docs/kv-page-format.md, from its words alone: SHA-256 and SipHash-2-4-128."""

import hashlib
import re
import struct

from fleet import ROOT, check

MASK = (1 << 64) - 1
FORMAT = 2


def rotl(value, bits):
    return ((value << bits) | (value >> (64 - bits))) & MASK


def sip_round(v):
    v[0] = (v[0] + v[1]) & MASK
    v[2] = (v[2] + v[3]) & MASK
    v[1] = rotl(v[1], 13) ^ v[0]
    v[3] = rotl(v[3], 16) ^ v[2]
    v[0] = rotl(v[0], 32)
    v[2] = (v[2] + v[1]) & MASK
    v[0] = (v[0] + v[3]) & MASK
    v[1] = rotl(v[1], 17) ^ v[2]
    v[3] = rotl(v[3], 21) ^ v[0]
    v[2] = rotl(v[2], 32)


def siphash_128(key, message):
    """SipHash-2-4 with 128 bits of output (Aumasson, Bernstein 2012)."""
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ 0xEE, k0 ^ 0x6C7967656E657261,
         k1 ^ 0x7465646279746573]
    padded = message + b"\0" * (7 - len(message) % 8) + bytes([len(message) & 255])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        sip_round(v)
        sip_round(v)
        v[0] ^= word
    out = b""
    for at, mark in ((2, 0xEE), (1, 0xDD)):
        v[at] ^= mark
        for _ in range(4):
            sip_round(v)
        out += struct.pack("<Q", v[0] ^ v[1] ^ v[2] ^ v[3])
    return out


def page_name(fingerprint, salt, ids):
    head = b"kvroot\0\0" + struct.pack("<QQQ", FORMAT, fingerprint, len(salt))
    name = hashlib.sha256(head + salt).digest()[:16]
    for at in range(0, len(ids), 64):
        page = ids[at:at + 64]
        name = siphash_128(name, b"kvpage\0\0" + struct.pack(f"<QQ{len(page)}I", FORMAT, len(page),
                                                              *page))
    return name


def main():
    # The first vector that SipHash's authors publish.
    check(siphash_128(bytes(range(16)), b"").hex() == "a3817f04ba25a8e66df67214c7550293",
          "not SipHash")
    text = (ROOT / "docs" / "kv-page-format.md").read_text()
    rows = re.findall(r"^\| 42 \| (\S+)[^|]*\| (\w+)[^|]*\| `(\w{16})` \| `(\w{16})` \|$", text, re.M)
    check(len(rows) == 4, f"{len(rows)} vectors in the page")
    for salt, count, high, low in rows:
        salt = salt.strip("`").encode() if salt.startswith("`") else b""
        count = 0 if count == "none" else int(count)
        name = page_name(42, salt, [1000 * i for i in range(count)])
        check(name == bytes.fromhex(low)[::-1] + bytes.fromhex(high)[::-1],
              f"{count} tokens under {salt!r}: {name.hex()}")


main()
