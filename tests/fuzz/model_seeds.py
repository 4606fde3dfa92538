"""Seeds for the fuzz targets of model files: the smallest file of every architecture."""
import json
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests" / "golden"))
import model_files  # noqa: E402

WIDTH = 4
TOKENS = ["<unk>", "<s>", "</s>", "a", "b", "ab"]


class Tensor:
    """What model_files asks of a NumPy array."""

    def __init__(self, *shape):
        self.shape, self.ndim = shape, len(shape)
        count = 1
        for size in shape:
            count *= size
        self.data = b"".join(struct.pack("<f", 1 + i % 7) for i in range(count))
        self.nbytes = len(self.data)

    def astype(self, _):
        return self

    def tobytes(self):
        return self.data


def gguf_tensors(architecture):
    square, row = Tensor(WIDTH, WIDTH), Tensor(WIDTH)
    out = {"token_embd.weight": Tensor(len(TOKENS), WIDTH), "output_norm.weight": row}
    layer = {"attn_norm": row, "ffn_norm": row, "attn_output": square, "ffn_down": square}
    if architecture == "phi3":
        layer |= {"attn_qkv": Tensor(3 * WIDTH, WIDTH), "ffn_up": Tensor(2 * WIDTH, WIDTH)}
    else:
        layer |= {name: square for name in ("attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up")}
    if architecture in ("qwen3", "gemma3"):
        layer |= {"attn_q_norm": row, "attn_k_norm": row}
    if architecture.startswith("gemma"):
        layer |= {"post_attention_norm": row, "post_ffw_norm": row}
    out |= {f"blk.0.{name}.weight": tensor for name, tensor in layer.items()}
    if architecture == "qwen2":
        out |= {f"blk.0.attn_{part}.bias": row for part in "qkv"}
    if architecture == "phi3":
        out |= {f"rope_factors_{kind}.weight": Tensor(WIDTH // 2) for kind in ("long", "short")}
    return out


def gguf_header(architecture):
    a = architecture + "."
    sentence_piece = architecture in ("llama", "gemma2", "phi3")
    words = {"tokenizer.ggml.tokens": TOKENS, "tokenizer.ggml.token_type": [2, 3, 3, 1, 1, 1],
             "tokenizer.ggml.model": "llama" if sentence_piece else "gpt2"}
    header = {"general.architecture": architecture, a + "block_count": 1, a + "context_length": 64,
              a + "embedding_length": WIDTH, a + "feed_forward_length": WIDTH,
              a + "attention.head_count": 1, a + "attention.sliding_window": 8,
              a + "attention.layer_norm_rms_epsilon": 1e-5, a + "rope.freq_base": 1e4}
    if architecture == "gemma2":
        header[a + "attn_logit_softcapping"] = 50.0
    if not sentence_piece:
        words["tokenizer.ggml.merges"] = ["a b"]
    return header | words


def write_gguf(folder):
    names = ("llama", "hearth", "qwen2", "qwen3", "gemma2", "gemma3", "phi3")
    for name in names:
        path = folder / f"{name}.gguf"
        header = gguf_header(name)
        if "tokenizer.ggml.merges" not in header:
            header["tokenizer.ggml.scores"] = [0.0, 0.0, 0.0, -1.0, -2.0, -3.0]
        model_files.write_gguf(path, header, gguf_tensors(name))
    return len(names)


def write_safetensors(folder):
    shapes = {"one": {"a.weight": Tensor(2, 3)}, "none": {},
              "layer": {"model.norm.weight": Tensor(4), "model.embed_tokens.weight": Tensor(6, 4)}}
    for name, tensors in shapes.items():
        model_files.write_safetensors(folder / name, tensors)
    return len(shapes)


def write_json(folder):
    model_files.write_tokenizer(folder / "bytes.json")
    texts = ["t" + (folder / "bytes.json").read_text()]
    (folder / "bytes.json").unlink()
    config = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
              "num_attention_heads": 4, "vocab_size": 300, "sliding_window": 24}
    for kind in ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma2", "Gemma3", "Phi3"):
        texts.append("c" + json.dumps(config | {"architectures": [kind + "ForCausalLM"]}))
    for scaling in ({"rope_type": "llama3", "factor": 8.0}, {"type": "linear", "factor": 2.0},
                    {"type": "longrope", "long_factor": [1.0] * 8, "short_factor": [2.0] * 8}):
        texts.append("c" + json.dumps(config | {"model_type": "phi3", "rope_scaling": scaling,
                                                "original_max_position_embeddings": 1024}))
    for i, text in enumerate(texts):
        (folder / f"json{i}").write_text(text)
    return len(texts)


WRITERS = {"gguf": write_gguf, "safetensors": write_safetensors, "hf_json": write_json}
