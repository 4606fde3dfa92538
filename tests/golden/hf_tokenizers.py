#!/usr/bin/env python3
"""Writes hf_tokenizers.json: small tokenizers in the shape of each family's tokenizer.json, and the ids
that the reference library (Hugging Face tokenizers 0.20, from the Python package index) gives.

  hf_tokenizers.py --seed N --strings COUNT --write FILE   trained on story.txt, asked about odd strings

Needs the package only to write; the C++ test (hf_tokenizer_golden_test) reads what is written.
"""
import argparse
import json
import os
import random

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

FOLDER = os.path.dirname(os.path.abspath(__file__))
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = ["<0x%02X>" % byte for byte in range(256)]
PIECES = ["e\u0301", "caf\u00e9", "n\u0303", "  ", "\t", "\n", "\r\n", " ", "I'LL", "we're", "DON'T",
          "1234567", "12", "\u1112\u1161\u11ab", "\u212b", "a\u0323\u0301b", "\U0001f600",
          "\U0001f469\u200d\U0001f467", "\u0645\u0631\u062d\u0628\u0627", "\u4f60\u597d\uff0c",
          "def f(x):", "<b>", "\u00a0", "\u2003", "9\u0663\u00bd", "the", "little", " girl", "Once",
          ".", "!?", "-", "_x", "\u2581", "\U0001d400", "\u0f0b", "'s", "ing"]


def strings(rng, count):
    return ["".join(rng.choice(PIECES) for _ in range(rng.randint(1, 9))) for _ in range(count)]


def byte_level(text, pre_tokenizer, normalizer=None, ignore_merges=False):
    made = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    made.pre_tokenizer = pre_tokenizer
    if normalizer:
        made.normalizer = normalizer
    made.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>", "<|im_end|>"], show_progress=False))
    return json.loads(made.to_str())


def split(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def sentence_piece(text, normalizer, pre_tokenizer):
    """Merges learnt inside words, then used on whole texts with bytes for what is unknown."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizers.Split(Regex("\u2581"), "merged_with_next")
    made.train_from_iterator(text.split("\n"), trainers.BpeTrainer(
        vocab_size=480, special_tokens=["<unk>", "<s>", "</s>"] + BYTES, show_progress=False))
    out = json.loads(made.to_str())
    out["model"] |= {"byte_fallback": True, "fuse_unk": True}
    out["added_tokens"] = [t for t in out["added_tokens"] if t["content"] not in BYTES]
    out["pre_tokenizer"] = pre_tokenizer
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--strings", type=int, default=60)
    parser.add_argument("--write", required=True)
    args = parser.parse_args()
    with open(os.path.join(FOLDER, "story.txt"), encoding="utf-8") as file:
        text = file.read() + " ".join(PIECES)
    spaces = normalizers.Replace(" ", "\u2581")
    made = {
        "llama3": byte_level(text, split(WORDS + "{1,3}" + REST), ignore_merges=True),
        "qwen": byte_level(text, split(WORDS + REST), normalizers.NFC()),
        "smollm": byte_level(text, pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])),
        "llama2": sentence_piece(text, normalizers.Sequence(
            [normalizers.Prepend("\u2581"), spaces]), None),
        "gemma": sentence_piece(text, spaces, {
            "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
            "invert": False}),
    }
    asked = strings(random.Random(args.seed), args.strings)
    golden = {"strings": asked, "families": {}}
    for name, description in made.items():
        reference = Tokenizer.from_str(json.dumps(description))
        golden["families"][name] = {
            "tokenizer": description, "size": reference.get_vocab_size(),
            "ids": [reference.encode(s, add_special_tokens=False).ids for s in asked]}
    with open(args.write, "w", encoding="utf-8") as file:
        json.dump(golden, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
