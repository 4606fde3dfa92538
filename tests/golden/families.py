#!/usr/bin/env python3
"""A tiny random model of a family, as its files look, and its logits by a float64 reference.

Written from the papers: Touvron et al. 2023 (the layer), Zhang and Sennrich 2019 (RMSNorm), Su et
al. 2021 (rotary embedding), Ainslie et al. 2023 (grouped queries), Yang et al. 2024 and 2025 (Qwen),
Jiang et al. 2023 (Mistral's window), Gemma Team 2024 and 2025, Abdin et al. 2024 (Phi-3), Ding et
al. 2024 (LongRoPE), Shazeer 2020 (GLU variants).

  families.py FAMILY FOLDER   writes FOLDER/hf, FOLDER/model.gguf (if GGUF can say the family) and
                              FOLDER/golden.json: tokens, and the logits after each of them
  families.py --list          the families

Exit code 77 (skipped) and a line that says why when NumPy is absent.
"""
import json
import os
import sys

from model_files import write_gguf, write_tokenizer, write_safetensors, GGUF_VOCABULARY, VOCAB

SKIPPED = 77
TOKENS = 80  # More than one page of 64.

try:
    import numpy as np
except ImportError:
    print("skipped: NumPy is not installed")
    sys.exit(SKIPPED)

BASE = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": VOCAB,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": False}
LONG = [1.0 + 0.5 * i for i in range(8)]
FAMILIES = {
    "llama2": {"architectures": ["LlamaForCausalLM"], "num_key_value_heads": 4},
    "llama3": {"architectures": ["LlamaForCausalLM"], "rope_theta": 500.0, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}},
    "llama-linear": {"architectures": ["LlamaForCausalLM"], "num_key_value_heads": 1,
                     "rope_scaling": {"type": "linear", "factor": 4.0}},
    "smollm2": {"architectures": ["LlamaForCausalLM"], "num_attention_heads": 9, "hidden_size": 144,
                "head_dim": 16, "num_key_value_heads": 3, "tie_word_embeddings": True},
    "mistral": {"architectures": ["MistralForCausalLM"], "sliding_window": 24},
    "qwen2": {"architectures": ["Qwen2ForCausalLM"], "rope_theta": 1e6, "rms_norm_eps": 1e-6,
              "tie_word_embeddings": True, "use_sliding_window": False, "sliding_window": 24},
    "qwen3": {"architectures": ["Qwen3ForCausalLM"], "head_dim": 32, "rope_theta": 1e6},
    "gemma2": {"architectures": ["Gemma2ForCausalLM"], "head_dim": 32, "sliding_window": 24,
               "query_pre_attn_scalar": 24, "attn_logit_softcapping": 1.0,
               "final_logit_softcapping": 3.0, "hidden_activation": "gelu_pytorch_tanh",
               "tie_word_embeddings": True},
    "gemma3": {"architectures": ["Gemma3ForCausalLM"], "num_hidden_layers": 7, "head_dim": 32,
               "num_key_value_heads": 1, "sliding_window": 24, "query_pre_attn_scalar": 32,
               "rope_theta": 1000.0, "rope_local_base_freq": 30.0,
               "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True,
               "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    "phi3": {"architectures": ["Phi3ForCausalLM"], "num_key_value_heads": 4,
             "original_max_position_embeddings": 512, "rope_scaling": {
                 "type": "longrope", "long_factor": LONG, "short_factor": [1.0] * 8}},
}


def config_of(family):
    config = {**BASE, **FAMILIES[family]}
    config["model_type"] = {"gemma3": "gemma3_text"}.get(family, family.split("-")[0])
    return config


def is_gemma(c):
    return c["architectures"][0].startswith("Gemma")


def has_qk_norm(c):
    return c["architectures"][0] in ("Qwen3ForCausalLM", "Gemma3ForCausalLM")


def random_weights(c, seed):
    """Tensors by Hugging Face's names, not fused yet; float32, so that every file holds them."""
    rng = np.random.default_rng(seed)
    hidden, ffn, d = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    w = {}

    def matrix(name, rows, cols, gain):
        w[name + ".weight"] = rng.normal(0, gain / cols ** 0.5, (rows, cols)).astype(np.float32)

    def gains(name, size):
        mean = 0.0 if is_gemma(c) else 1.0  # Gemma's files hold gains minus 1.
        w[name + ".weight"] = rng.normal(mean, 0.3, size).astype(np.float32)

    # Embeddings about as large as what layers add: a stream that layers alone make is chaotic.
    tied = c["tie_word_embeddings"]
    matrix("model.embed_tokens", c["vocab_size"], hidden,
           1.0 if is_gemma(c) else 8.0 if tied else hidden ** 0.5)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        gains(p + "input_layernorm", hidden)
        gains(p + "post_attention_layernorm", hidden)
        matrix(p + "self_attn.q_proj", q, hidden, 1.2)
        matrix(p + "self_attn.k_proj", kv, hidden, 1.2)
        matrix(p + "self_attn.v_proj", kv, hidden, 1.0)
        matrix(p + "self_attn.o_proj", hidden, q, 1.0)
        matrix(p + "mlp.gate_proj", ffn, hidden, 1.5)
        matrix(p + "mlp.up_proj", ffn, hidden, 1.3)
        matrix(p + "mlp.down_proj", hidden, ffn, 1.0)
        if is_gemma(c):
            gains(p + "pre_feedforward_layernorm", hidden)
            gains(p + "post_feedforward_layernorm", hidden)
        if has_qk_norm(c):
            gains(p + "self_attn.q_norm", d)
            gains(p + "self_attn.k_norm", d)
        if c["model_type"] == "qwen2":
            for part, size in (("q", q), ("k", kv), ("v", kv)):
                bias = rng.normal(0, 3.0 if part == "k" else 0.7, size)  # Its K is known for them.
                w[p + f"self_attn.{part}_proj.bias"] = bias.astype(np.float32)
    gains("model.norm", hidden)
    if not tied:
        matrix("lm_head", c["vocab_size"], hidden, 2.0)
    else:  # The last norm sets the spread of the logits.
        w["model.norm.weight"] += np.float32(1.5)
    return w


def norm(c, x, gain):
    gain = gain + 1.0 if is_gemma(c) else gain
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + c["rms_norm_eps"]) * gain


def frequencies(c, local):
    """Radians per position of every pair, and the factor on cosines and sines."""
    d = c["head_dim"]
    theta = c["rope_local_base_freq"] if local else c["rope_theta"]
    frequency = theta ** (-2.0 * np.arange(d // 2) / d)
    scaling = c.get("rope_scaling")
    if scaling is None or local:
        return frequency, 1.0
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "linear":
        return frequency / scaling["factor"], 1.0
    if kind == "longrope":
        grown = c["max_position_embeddings"] / c["original_max_position_embeddings"]
        log = np.log(c["original_max_position_embeddings"])
        return frequency / np.array(scaling["long_factor"]), np.sqrt(1 + np.log(grown) / log)
    assert kind == "llama3"
    context, low, high = (scaling["original_max_position_embeddings"], scaling["low_freq_factor"],
                          scaling["high_freq_factor"])
    keep = np.clip((context * frequency / (2 * np.pi) - low) / (high - low), 0, 1)
    return frequency * (keep + (1 - keep) / scaling["factor"]), 1.0


def rotate(c, x, local):
    """x: [tokens, heads, head_dim]; element i and i + head_dim / 2 form a pair."""
    half = c["head_dim"] // 2
    frequency, magnitude = frequencies(c, local)
    angle = np.arange(x.shape[0])[:, None, None] * frequency
    z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle) * magnitude
    return np.concatenate([z.real, z.imag], axis=-1)


def window_of(c, layer):
    """How many tokens a layer sees, itself included; None = all."""
    kind = c["architectures"][0]
    if kind == "MistralForCausalLM":
        return c["sliding_window"]
    if kind == "Gemma2ForCausalLM" and layer % 2 == 0:
        return c["sliding_window"]
    if kind == "Gemma3ForCausalLM" and (layer + 1) % 6 != 0:
        return c["sliding_window"]
    return None


def attention(c, w, p, n, layer):
    count, heads, kv, d = (n.shape[0], c["num_attention_heads"], c["num_key_value_heads"],
                           c["head_dim"])

    def project(part, shape):
        y = n @ w[p + f"self_attn.{part}_proj.weight"].T
        y = y + w.get(p + f"self_attn.{part}_proj.bias", 0.0)
        y = y.reshape(count, shape, d)
        if has_qk_norm(c) and part != "v":
            y = norm(c, y, w[p + f"self_attn.{part}_norm.weight"])
        return y

    window = window_of(c, layer)
    local = window is not None and "rope_local_base_freq" in c
    q, k = (rotate(c, project(part, size), local) for part, size in (("q", heads), ("k", kv)))
    k, v = (np.repeat(x, heads // kv, axis=1) for x in (k, project("v", kv)))
    score = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(c.get("query_pre_attn_scalar", d))
    cap = c.get("attn_logit_softcapping")
    if cap:
        score = cap * np.tanh(score / cap)
    age = np.arange(count)[:, None] - np.arange(count)[None, :]
    seen = (age >= 0) & (age < (window or count))
    score = np.where(seen, score, -np.inf)
    prob = np.exp(score - score.max(axis=-1, keepdims=True))
    prob /= prob.sum(axis=-1, keepdims=True)
    mixed = np.einsum("hqk,khd->qhd", prob, v).reshape(count, heads * d)
    return mixed @ w[p + "self_attn.o_proj.weight"].T


def feed_forward(c, w, p, n):
    gate = n @ w[p + "mlp.gate_proj.weight"].T
    if is_gemma(c):
        u = np.sqrt(2 / np.pi) * (gate + 0.044715 * gate ** 3)
        gate = 0.5 * gate * (1 + np.tanh(u))
    else:
        gate = gate / (1 + np.exp(-gate))
    return (gate * (n @ w[p + "mlp.up_proj.weight"].T)) @ w[p + "mlp.down_proj.weight"].T


def logits(c, weights, tokens):
    """[tokens, vocab], causal, positions from 0."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    x = w["model.embed_tokens.weight"][tokens]
    if is_gemma(c):
        x = x * np.sqrt(c["hidden_size"])
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        y = attention(c, w, p, norm(c, x, w[p + "input_layernorm.weight"]), i)
        before = "post_attention_layernorm"
        if is_gemma(c):
            y = norm(c, y, w[p + "post_attention_layernorm.weight"])
            before = "pre_feedforward_layernorm"
        x = x + y
        y = feed_forward(c, w, p, norm(c, x, w[p + before + ".weight"]))
        if is_gemma(c):
            y = norm(c, y, w[p + "post_feedforward_layernorm.weight"])
        x = x + y
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    out = norm(c, x, w["model.norm.weight"]) @ head.T
    cap = c.get("final_logit_softcapping")
    return cap * np.tanh(out / cap) if cap else out


def fused(c, weights):
    """As the family's safetensors have it: Phi-3 stacks Q, K, V and gate, up."""
    if c["model_type"] != "phi3":
        return weights
    out = dict(weights)
    for i in range(c["num_hidden_layers"]):
        for target, parts in (("self_attn.qkv_proj", ("self_attn.q_proj", "self_attn.k_proj",
                                                      "self_attn.v_proj")),
                              ("mlp.gate_up_proj", ("mlp.gate_proj", "mlp.up_proj"))):
            p = f"model.layers.{i}."
            rows = [out.pop(p + part + ".weight") for part in parts]
            out[p + target + ".weight"] = np.concatenate(rows)
    return out


GGUF_NAMES = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q",
              "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
              "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
              "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
              "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
              "self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up",
              "post_attention_layernorm": "ffn_norm"}
GGUF_GEMMA_NAMES = {**GGUF_NAMES, "post_attention_layernorm": "post_attention_norm",
                    "pre_feedforward_layernorm": "ffn_norm",
                    "post_feedforward_layernorm": "post_ffw_norm"}
GGUF_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_architecture(c):
    kind = c["architectures"][0]
    return {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3",
            "Gemma2ForCausalLM": "gemma2", "Gemma3ForCausalLM": "gemma3",
            "Phi3ForCausalLM": "phi3"}.get(kind)  # Mistral's GGUF files cannot say its window.


def gguf_tensors(c, weights):
    """GGUF's names and layouts: Llama's pairs become neighbours, Gemma's gains are whole."""
    names = GGUF_GEMMA_NAMES if is_gemma(c) else GGUF_NAMES
    out = {}
    for name, value in fused(c, weights).items():
        base, kind = name.rsplit(".", 1)
        if base in GGUF_TOP:
            target = GGUF_TOP[base]
        else:
            _, _, layer, part = base.split(".", 3)
            target = f"blk.{layer}.{names[part]}"
            heads = {"self_attn.q_proj": "num_attention_heads",
                     "self_attn.k_proj": "num_key_value_heads"}.get(part)
            if heads and gguf_architecture(c) == "llama":
                split = value.reshape(c[heads], 2, c["head_dim"] // 2, -1)
                value = split.swapaxes(1, 2).reshape(value.shape)
        if is_gemma(c) and value.ndim == 1:
            value = value + np.float32(1.0)
        out[f"{target}.{kind}"] = value
    scaling = c.get("rope_scaling", {})
    plain = c["rope_theta"] ** (-2.0 * np.arange(c["head_dim"] // 2) / c["head_dim"])
    if scaling.get("rope_type") == "llama3":
        out["rope_freqs.weight"] = (plain / frequencies(c, False)[0]).astype(np.float32)
    if scaling.get("type") == "longrope":
        for kind in ("long", "short"):
            factors = np.array(scaling[f"{kind}_factor"], dtype=np.float32)
            out[f"rope_factors_{kind}.weight"] = factors
    return out


def gguf_header(c):
    a = gguf_architecture(c) + "."
    header = {"general.architecture": a[:-1], a + "block_count": c["num_hidden_layers"],
              a + "context_length": c["max_position_embeddings"],
              a + "embedding_length": c["hidden_size"],
              a + "feed_forward_length": c["intermediate_size"],
              a + "attention.head_count": c["num_attention_heads"],
              a + "attention.head_count_kv": c["num_key_value_heads"],
              a + "attention.key_length": c["head_dim"],
              a + "attention.value_length": c["head_dim"],
              a + "attention.layer_norm_rms_epsilon": c["rms_norm_eps"],
              a + "rope.freq_base": c["rope_theta"]}
    scaling = c.get("rope_scaling", {})
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "linear":
        header |= {a + "rope.scaling.type": "linear", a + "rope.scaling.factor": scaling["factor"]}
    if kind == "longrope":
        header |= {a + "rope.scaling.original_context_length":
                   c["original_max_position_embeddings"],
                   a + "rope.scaling.attn_factor": float(frequencies(c, False)[1])}
    if "rope_local_base_freq" in c:
        header[a + "rope.freq_base_swa"] = c["rope_local_base_freq"]
    if is_gemma(c):
        header[a + "attention.sliding_window"] = c["sliding_window"]
        for ours, theirs in (("attn_logit_softcapping", "attn_logit_softcapping"),
                             ("final_logit_softcapping", "final_logit_softcapping")):
            if ours in c:
                header[a + theirs] = c[ours]
    return header | GGUF_VOCABULARY


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(FAMILIES))
        return 0
    family, folder = sys.argv[1:]
    c = config_of(family)
    # GGUF has no key for Gemma's scale of scores, so the model has what the format implies.
    weights = random_weights(c, seed=sum(family.encode()))
    os.makedirs(os.path.join(folder, "hf"), exist_ok=True)
    with open(os.path.join(folder, "hf", "config.json"), "w", encoding="utf-8") as file:
        json.dump(c, file)
    write_tokenizer(os.path.join(folder, "hf", "tokenizer.json"))
    write_safetensors(os.path.join(folder, "hf", "model.safetensors"), fused(c, weights))
    tokens = np.random.default_rng(1).integers(0, c["vocab_size"], TOKENS)
    golden = {"tokens": tokens.tolist(), "logits": logits(c, weights, tokens).tolist()}
    if gguf_architecture(c):
        implied = {k: v for k, v in c.items() if k != "query_pre_attn_scalar"}
        write_gguf(os.path.join(folder, "model.gguf"), gguf_header(c), gguf_tensors(c, weights))
        golden["gguf_logits"] = logits(implied, weights, tokens).tolist()
    with open(os.path.join(folder, "golden.json"), "w", encoding="utf-8") as file:
        json.dump(golden, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
