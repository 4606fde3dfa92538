// Fuzz target of the safetensors header: any bytes are read or are an error, and every tensor that
// comes out lies inside the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "engine/formats/safetensors_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    namespace engine = hearth::engine;
    const auto view = std::as_bytes(std::span(bytes, size));
    engine::TensorTable tensors;
    if (!engine::read_safetensors(view, "fuzz.safetensors", tensors).ok()) return 0;
    for (const auto& [name, tensor] : tensors) {
        const auto wanted = engine::byte_count(tensor.type, tensor.shape);
        if (!wanted || static_cast<std::size_t>(*wanted) != tensor.bytes.size()) std::abort();
        if (tensor.bytes.data() < view.data() ||
            tensor.bytes.data() + tensor.bytes.size() > view.data() + size)
            std::abort();
    }
    return 0;
}
