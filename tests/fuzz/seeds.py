"""Seeds for a fuzz target: the texts that its unit tests feed to the parser, one file each.

seeds.py TARGET FOLDER
"""

import ast
import hashlib
import pathlib
import re
import sys

import model_seeds

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTS = {
    "body_scan": ["tests/router/session/body_scan_test.cpp", "tests/router/session/json_scanner_test.cpp",
                  "tests/cachenode/api/chat_request_test.cpp"],
    "chat_request": ["tests/cachenode/api/chat_request_test.cpp", "tests/cachenode/api/tools_test.cpp"],
    "json_grammar": ["tests/cachenode/api/schema_reader_test.cpp"],
    "config": ["tests/router/config_test.cpp", "tests/common/config/options_test.cpp"],
    "http_head": ["tests/common/net/http_head_test.cpp", "tests/common/net/chunked_test.cpp",
                  "tests/common/net/http_server_test.cpp", "tests/common/net/sse_test.cpp"],
    "sse": ["tests/common/net/sse_test.cpp"],
    "tokenizer": ["tests/engine/text/pre_tokenizer_test.cpp",
                  "tests/engine/text/normalize_test.cpp", "tests/engine/text/tokenizer_test.cpp"],
    "hf_json": ["tests/engine/formats/hf_vocabulary_test.cpp",
                "tests/engine/formats/hf_model_test.cpp"],
}
WHOLE_FILES = {"config": "deploy/config/router*.yaml"}
# Targets whose first input byte is the size of the steps.
STEP = {"body_scan", "sse"}
LITERAL = re.compile(r'R"\((.*?)\)"|"((?:[^"\\\n]|\\.)*)"', re.S)


def literals(text):
    """C++ string literals, neighbours joined."""
    parts, end = [], None
    for found in LITERAL.finditer(text):
        value = found[1]
        if value is None:
            try:
                value = ast.literal_eval('"' + found[2] + '"')
            except (SyntaxError, ValueError):
                continue
        if end is not None and text[end:found.start()].strip() == "":
            parts[-1] += value
        else:
            parts.append(value)
        end = found.end()
    return parts


def main():
    target, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    seeds = [text for name in TESTS.get(target, []) for text in literals((ROOT / name).read_text())]
    seeds += [path.read_text() for path in sorted(ROOT.glob(WHOLE_FILES.get(target, "no-such")))]
    folder.mkdir(parents=True, exist_ok=True)
    for text in seeds:
        data = text.encode("latin-1", "ignore") if target == "http_head" else text.encode("utf-8", "ignore")
        data = (b"\x06" if target in STEP else b"") + data
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
    written = model_seeds.WRITERS.get(target, lambda _: 0)(folder)
    print(f"{target}: {len(seeds) + written} seeds")


main()
