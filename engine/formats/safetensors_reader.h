// Safetensors: the tensors of one file or of a sharded checkpoint, checked before they are used.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "engine/formats/mapped_file.h"
#include "engine/formats/tensor.h"

namespace hearth::engine {

// Adds the tensors of one file in memory to `out`. kCorrupt: truncated, a header that is no JSON or
// contradicts the data (the tensors must cover it without gap or overlap, as the reference
// demands), a name that is there already. kUnsupported: a dtype other than F32, F16, BF16.
// Format: https://github.com/huggingface/safetensors#format
Result<void> read_safetensors(std::span<const std::byte> bytes, const std::string& file,
                              TensorTable& out);

// The mapped files of a checkpoint and the views into them.
struct SafetensorsFiles {
    std::vector<MappedFile> files;
    TensorTable tensors;
};

// Opens `folder`/model.safetensors, or else all shards that model.safetensors.index.json names.
Result<SafetensorsFiles> open_safetensors(const std::string& folder);

}  // namespace hearth::engine
