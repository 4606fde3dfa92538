// Fuzz target of the GGUF loader: any bytes load or are an error, and what loads is a valid model
// whose tokenizer, if it can be made, encodes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "engine/formats/gguf_model.h"
#include "engine/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    namespace engine = hearth::engine;
    const auto view = std::as_bytes(std::span(bytes, size));
    const auto loaded = engine::load_gguf(view, "fuzz.gguf", {.keep_floats = true});
    if (!loaded.ok()) return 0;
    if (!engine::validate(loaded->config).ok()) std::abort();
    const auto tokenizer = engine::Tokenizer::make(loaded->vocabulary);
    if (!tokenizer.ok()) return 0;
    std::vector<engine::TokenId> ids;
    (*tokenizer)->encode("Hello 12\n", engine::Tokenizer::Special::kParse, ids);
    for (const engine::TokenId id : ids)
        if (id < 0 || id >= loaded->config.vocab_size) std::abort();
    return 0;
}
