// Checkpoint: one model as read from disk (GGUF file or Hugging Face folder), not packed yet.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/base/result.h"
#include "engine/model/config.h"
#include "engine/model/vocabulary.h"
#include "engine/model/weights.h"

namespace hearth::engine {

struct Checkpoint {
    ModelConfig config;
    VocabularySpec vocabulary;      // What the tokenizer is built from.
    std::string chat_template;      // The model's own template text; empty if it has none.
    Weights weights;                // Empty when loaded with `weights = false`.
    std::uint64_t fingerprint = 0;  // Hash of config, vocabulary and every weight byte read.
};

struct LoadOptions {
    bool weights = true;       // False: config, vocabulary and template only (fast).
    bool keep_floats = false;  // True: QuantMatrix::values too (4 bytes a weight more).
};

// Reads `path`: a .gguf file, or a folder with config.json, model.safetensors (or its sharded
// index) and tokenizer.json. Files are memory-mapped; peak memory is the int8 weights plus one
// tensor in float. Blocking, seconds for big models. Errors name the file and the tensor or key:
// kNotFound, kCorrupt (wrong magic, truncated, shapes that contradict the header), kUnsupported
// (architecture, tensor type, tokenizer kind), kTooLarge (absurd counts or sizes).
Result<Checkpoint> load_checkpoint(const std::string& path, const LoadOptions& options = {});

// A small random model of any shape, deterministic for a seed, written as GGUF F32 with a
// byte-level vocabulary and a ChatML template. See `hearth model make-tiny --help`.
struct TinyModelOptions {
    std::uint64_t seed = 1;
    std::int32_t hidden = 64;
    std::int32_t ffn_hidden = 192;
    std::int32_t layers = 4;
    std::int32_t heads = 4;
    std::int32_t kv_heads = 1;
    std::int32_t head_dim = 16;
    std::int32_t context_length = 4096;
    std::int32_t window = 0;        // > 0: window layers between global ones ...
    std::int32_t global_every = 6;  // ... every n-th layer (the last of its group) is global.
    std::int32_t share_kv = 1;      // Neighbouring layers of one kind that share a KV bank.
    bool tied_embeddings = true;
};
Result<void> write_tiny_model(const std::string& path, const TinyModelOptions& options);

}  // namespace hearth::engine
