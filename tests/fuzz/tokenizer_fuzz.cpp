// Fuzz target of the tokenizers: any bytes encode, and byte-level BPE gives the same bytes back.
// Build: clang++ -std=c++20 -fsanitize=fuzzer,address,undefined -I. -DHEARTH_SOURCE_DIR='"."' with
// tests/engine/text/vocabularies.cpp and the sources of engine/{text,formats,model} and
// common/base.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "engine/text/stop_strings.h"
#include "tests/engine/text/vocabularies.h"

using hearth::engine::StreamingDetokenizer;
using hearth::engine::TokenId;
using hearth::engine::Tokenizer;

namespace {

void check_round_trip(const Tokenizer& tokenizer, std::string_view text) {
    for (const auto mode : {Tokenizer::Special::kPlain, Tokenizer::Special::kParse}) {
        const auto ids = hearth::engine::ids_of(tokenizer, text, mode);
        if (hearth::engine::text_of(tokenizer, ids, true) != text) std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    static const auto bpe = [] {
        std::vector<std::unique_ptr<Tokenizer>> made;
        for (const char* rule :
             {"gpt-2", "starcoder", "llama-bpe", "qwen2", "falcon", "deepseek-llm", "default"}) {
            auto spec = hearth::engine::byte_vocabulary({{"a", "a"}, {"aa", "aa"}, {" ", "a"}});
            spec.pre_tokenizer = rule;
            made.push_back(hearth::engine::tokenizer_of(spec));
        }
        return made;
    }();
    static const auto pieces =
        hearth::engine::tokenizer_of(hearth::engine::sentencepiece_vocabulary());
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    for (const auto& tokenizer : bpe) check_round_trip(*tokenizer, text);
    StreamingDetokenizer detokenizer(*pieces);
    hearth::engine::StopMatcher stops({"aab", "\n\n"});
    for (const TokenId id : hearth::engine::ids_of(*pieces, text)) {
        stops.add(detokenizer.add(id));
    }
    return 0;
}
