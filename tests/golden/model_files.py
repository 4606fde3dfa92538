"""Writers of the model files that golden tests load: GGUF, safetensors, a byte-level tokenizer.

Formats: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and the safetensors README.
"""
import json
import struct

VOCAB = 272


def _byte_runes():
    """GPT-2's printable stand-ins: bytes that print as themselves, the others from U+0100 on."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    runes = {byte: chr(byte) for byte in kept}
    runes.update({byte: chr(256 + i) for i, byte in enumerate(others)})
    return [runes[byte] for byte in range(256)]


TOKENS = _byte_runes() + ["th"] + [f"<|unused_{i}|>" for i in range(257, VOCAB)]
GGUF_VOCABULARY = {
    "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": [1] * 257 + [5] * (VOCAB - 257),
    "tokenizer.ggml.merges": ["t h"], "tokenizer.ggml.eos_token_id": 0,
}


def write_tokenizer(path):
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(TOKENS[:257])},
                             "merges": ["t h"]},
                   "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False,
                                     "use_regex": True}}, file)


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, value in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(value.shape),
                        "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            file.write(value.astype("<f4").tobytes())


def _text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value):
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    kind, form = {str: (8, ""), int: (5, "i"), float: (6, "f")}[type(value[0])]
    head = struct.pack("<IIQ", 9, kind, len(value))
    if kind == 8:
        return head + b"".join(map(_text, value))
    return head + struct.pack(f"<{len(value)}{form}", *value)


def write_gguf(path, header, tensors):
    parts, data = [], b""
    for name, value in tensors.items():
        shape = value.shape[::-1]  # GGUF has the fastest dimension first.
        parts.append(_text(name) + struct.pack("<I", len(shape)) +
                     struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", 0, len(data)))
        data += value.astype("<f4").tobytes()
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(header))
    head += b"".join(_text(key) + _value(value) for key, value in header.items()) + b"".join(parts)
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % 32) + data)
