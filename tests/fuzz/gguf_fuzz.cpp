// Fuzz target of the GGUF loader: any bytes load or are an error.
// Build: clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -I. tests/fuzz/gguf_fuzz.cpp
// engine/formats/*.cpp engine/model/*.cpp common/base/*.cpp -lboost_json -lxxhash -o gguf_fuzz
// Seeds: files of `hearth model make-tiny`, as small as they get.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "engine/formats/gguf_model.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const auto view = std::as_bytes(std::span(bytes, size));
    const auto loaded = hearth::engine::load_gguf(view, "fuzz.gguf", {});
    if (loaded.ok() && !hearth::engine::validate(loaded->config).ok()) std::abort();
    return 0;
}
