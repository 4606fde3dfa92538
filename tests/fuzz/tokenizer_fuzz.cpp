// Fuzz target of the tokenizers: any bytes encode, byte-level BPE gives the same bytes back, and
// the detokenizer's pieces are whole UTF-8 that together are what decoding at once gives.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "engine/text/normalize.h"
#include "engine/text/stop_strings.h"
#include "engine/text/utf8.h"
#include "tests/engine/text/vocabularies.h"

using namespace hearth::engine;

namespace {

void check_round_trip(const Tokenizer& tokenizer, std::string_view text) {
    const std::string want = tokenizer.spec().nfc ? std::string() : std::string(text);
    for (const auto mode : {Tokenizer::Special::kPlain, Tokenizer::Special::kParse}) {
        const auto ids = ids_of(tokenizer, text, mode);
        const std::string got = text_of(tokenizer, ids, true);
        if (!tokenizer.spec().nfc && got != want) std::abort();
    }
}

void check_whole(std::string_view text) {
    while (!text.empty()) {
        const Utf8Step step = next_rune(text);
        if (step.kind != Utf8Step::Kind::kRune) std::abort();
        text.remove_prefix(step.length);
    }
}

void check_stream(const Tokenizer& tokenizer, std::string_view text) {
    StreamingDetokenizer stream(tokenizer);
    StopMatcher stops({"aab", "\n\n"});
    std::string streamed, bytes;
    for (const TokenId id : ids_of(tokenizer, text)) {
        const std::string piece = stream.add(id);
        check_whole(piece);
        stops.add(piece);
        streamed += piece;
        bytes += tokenizer.decode(id);
    }
    streamed += stream.finish();
    std::string whole;
    take_valid_utf8(bytes, true, whole);
    if (streamed != whole) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    static const auto bpe = [] {
        std::vector<std::unique_ptr<Tokenizer>> made;
        for (const char* rule : {"gpt-2", "starcoder", "llama-bpe", "qwen2", "falcon",
                                 "deepseek-llm", "deepseek-coder", "default"}) {
            auto spec = byte_vocabulary({{"a", "a"}, {"aa", "aa"}, {" ", "a"}});
            spec.pre_tokenizer = rule;
            spec.nfc = std::string_view(rule) == "qwen2";
            made.push_back(tokenizer_of(spec));
        }
        return made;
    }();
    static const auto pieces = tokenizer_of(sentencepiece_vocabulary());
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    const std::string composed = nfc(text);
    if (nfc(composed) != composed) std::abort();
    for (const auto& tokenizer : bpe) check_round_trip(*tokenizer, text);
    check_stream(*pieces, text);
    check_stream(*bpe.front(), text);
    return 0;
}
