#!/usr/bin/env python3
"""A float64 reference of the Llama architecture, for a second opinion on the engine's arithmetic.

Written from the papers: Touvron et al. 2023 (the layer), Zhang and Sennrich 2019 (RMSNorm),
Su et al. 2021 (rotary embedding), Shazeer 2020 (SwiGLU), Ainslie et al. 2023 (grouped queries).

  reference.py --model M.bin --tokenizer T.bin --write GOLDEN   computes the golden file anew
  reference.py --model M.bin --tokenizer T.bin --check GOLDEN   exits 1 if it no longer agrees

Exit code 77 (skipped) and a line that says why when NumPy or the model file is absent.
"""
import argparse
import json
import os
import struct
import sys

SKIPPED = 77
BOS = 1
WINDOW = 128       # Tokens per window of the perplexity; each window starts with BOS.
KEPT_LOGITS = 2    # Rows of logits kept in the golden file: the last of the first windows.

try:
    import numpy as np
except ImportError:
    print("skipped: NumPy is not installed")
    sys.exit(SKIPPED)


class Model:
    """llama2.c's file: 7 int32 (dim, hidden, layers, heads, kv_heads, vocab, seq_len), floats."""

    def __init__(self, path):
        with open(path, "rb") as file:
            raw = file.read()
        header = struct.unpack("7i", raw[:28])
        self.dim, self.hidden, self.layers, self.heads, self.kv_heads, vocab, seq_len = header
        self.vocab = abs(vocab)
        self.head_dim = self.dim // self.heads
        kv_dim = self.kv_heads * self.head_dim
        values = np.frombuffer(raw, dtype="<f4", offset=28).astype(np.float64)
        at = 0

        def take(*shape):
            nonlocal at
            size = int(np.prod(shape))
            at += size
            return values[at - size:at].reshape(shape)

        n = self.layers
        self.embedding = take(self.vocab, self.dim)
        self.attention_norm = take(n, self.dim)
        self.wq = take(n, self.dim, self.dim)
        self.wk = take(n, kv_dim, self.dim)
        self.wv = take(n, kv_dim, self.dim)
        self.wo = take(n, self.dim, self.dim)
        self.ffn_norm = take(n, self.dim)
        self.gate = take(n, self.hidden, self.dim)
        self.down = take(n, self.dim, self.hidden)
        self.up = take(n, self.hidden, self.dim)
        self.final_norm = take(self.dim)
        take(seq_len, self.head_dim // 2)  # Cosines and sines: we compute our own.
        take(seq_len, self.head_dim // 2)
        self.output = self.embedding if vocab > 0 else take(self.vocab, self.dim)

    def norm(self, x, gain):
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-5) * gain

    def rotate(self, x):
        """x: [tokens, heads, head_dim]; neighbouring elements form a pair in this format."""
        pairs = np.arange(self.head_dim // 2)
        frequency = 10000.0 ** (-2.0 * pairs / self.head_dim)
        angle = np.arange(x.shape[0])[:, None, None] * frequency
        turn = np.exp(1j * angle)
        z = (x[..., 0::2] + 1j * x[..., 1::2]) * turn
        out = np.empty_like(x)
        out[..., 0::2], out[..., 1::2] = z.real, z.imag
        return out

    def logits(self, tokens):
        """[tokens, vocab], causal, positions from 0."""
        count = len(tokens)
        x = self.embedding[tokens]
        mask = np.triu(np.full((count, count), -np.inf), 1)
        group = self.heads // self.kv_heads
        for i in range(self.layers):
            n = self.norm(x, self.attention_norm[i])
            q = self.rotate((n @ self.wq[i].T).reshape(count, self.heads, self.head_dim))
            k = self.rotate((n @ self.wk[i].T).reshape(count, self.kv_heads, self.head_dim))
            v = (n @ self.wv[i].T).reshape(count, self.kv_heads, self.head_dim)
            k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
            score = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(self.head_dim) + mask
            p = np.exp(score - score.max(axis=-1, keepdims=True))
            p /= p.sum(axis=-1, keepdims=True)
            x = x + np.einsum("hqk,khd->qhd", p, v).reshape(count, self.dim) @ self.wo[i].T
            n = self.norm(x, self.ffn_norm[i])
            gate = n @ self.gate[i].T
            x = x + (gate / (1.0 + np.exp(-gate)) * (n @ self.up[i].T)) @ self.down[i].T
        return self.norm(x, self.final_norm) @ self.output.T


class Tokenizer:
    """llama2.c's file: longest token length, then (score, length, bytes) per token."""

    def __init__(self, path, vocab):
        with open(path, "rb") as file:
            raw = file.read()
        self.ids, self.scores = {}, []
        at = 4
        for i in range(vocab):
            score, length = struct.unpack("fi", raw[at:at + 8])
            self.ids.setdefault(raw[at + 8:at + 8 + length], i)
            self.scores.append(score)
            at += 8 + length
        self.words = {i: word for word, i in self.ids.items()}

    def encode(self, text):
        """Characters; then the neighbours whose union scores best are merged, again and again."""
        out = []
        for character in " " + text:
            word = character.encode()
            out += [self.ids[word]] if word in self.ids else [byte + 3 for byte in word]
        while True:
            best = None
            for i in range(len(out) - 1):
                union = self.ids.get(self.words[out[i]] + self.words[out[i + 1]])
                if union is not None and (best is None or self.scores[union] > best[0]):
                    best = (self.scores[union], i, union)
            if best is None:
                return out
            out[best[1]:best[1] + 2] = [best[2]]


def perplexity(model, tokens):
    """Over windows of BOS and WINDOW - 1 tokens, each token predicted from those before it."""
    loss, count, kept = 0.0, 0, []
    for start in range(0, len(tokens), WINDOW - 1):
        window = [BOS] + tokens[start:start + WINDOW - 1]
        logits = model.logits(window)
        largest = logits.max(axis=-1, keepdims=True)
        log_sum = largest[:, 0] + np.log(np.exp(logits - largest).sum(axis=-1))
        for i, token in enumerate(window[1:]):
            loss += log_sum[i] - logits[i, token]
            count += 1
        kept.append([float(x) for x in logits[-1]])
    return float(np.exp(loss / count)), kept[:KEPT_LOGITS]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--write")
    parser.add_argument("--check")
    args = parser.parse_args()
    for path in (args.model, args.tokenizer):
        if not os.path.exists(path):
            print(f"skipped: {path} is absent")
            return SKIPPED
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "story.txt"),
              encoding="utf-8") as file:
        text = file.read()
    model = Model(args.model)
    tokens = Tokenizer(args.tokenizer, model.vocab).encode(text)
    value, logits = perplexity(model, tokens)
    if args.write:
        with open(args.write, "w", encoding="utf-8") as file:
            json.dump({"window": WINDOW, "tokens": tokens, "perplexity": value,
                       "last_logits": [[round(x, 5) for x in row] for row in logits]}, file)
            file.write("\n")
    if args.check:
        with open(args.check, encoding="utf-8") as file:
            golden = json.load(file)
        error = np.abs(np.array(golden["last_logits"]) - np.array(logits)).max()
        ratio = value / golden["perplexity"]
        print(f"tokens {len(tokens)}, perplexity {value:.6f}, golden {golden['perplexity']:.6f}, "
              f"largest logit error {error:.1e}")
        if tokens != golden["tokens"] or abs(ratio - 1.0) > 1e-9 or error > 1e-5:
            print("the reference no longer agrees with its golden file")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
