// load_gguf: a GGUF file of architecture `llama` or `hearth` to a Checkpoint.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "engine/formats/gguf_reader.h"
#include "engine/model/checkpoint.h"

namespace hearth::engine {

// `bytes` is the whole file, `file` its name for messages; errors as load_checkpoint says. Rows of
// Q and K stay as the file has them: interleaved for RoPE (RopeStyle::kInterleaved), where a
// Hugging Face checkpoint of the same model has, in each head of d rows, row p d/2 + i at row 2 i +
// p.
Result<Checkpoint> load_gguf(std::span<const std::byte> bytes, const std::string& file,
                             const LoadOptions& options);

// The tokenizer.ggml.* keys.
Result<VocabularySpec> read_gguf_vocabulary(const GgufFile& file);

}  // namespace hearth::engine
