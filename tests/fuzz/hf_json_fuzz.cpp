// Fuzz target of config.json (first byte 'c') and tokenizer.json (else): any text is read or is an
// error; a tokenizer that comes out encodes and decodes without fault.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engine/formats/hf_model.h"
#include "engine/formats/json_file.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"

namespace {

using namespace hearth::engine;

constexpr std::int32_t kVocabulary = 300;

void read_config(const boost::json::object& json) {
    const auto config = read_hf_config(json, "config.json");
    if (config.ok()) (void)validate(*config).ok();
}

void read_tokenizer(boost::json::object json) {
    HfTokenizerFiles files;
    files.tokenizer = std::move(json);
    if (const auto* more = object_member(files.tokenizer, "tokenizer_config"))
        files.tokenizer_config = *more;
    const auto spec = read_hf_vocabulary(files, kVocabulary);
    if (!spec.ok()) return;
    const auto tokenizer = Tokenizer::make(*spec);
    if (!tokenizer.ok()) return;
    std::vector<TokenId> ids;
    (*tokenizer)
        ->encode("Hello  w\xC3\xB6rld 123\n\xFF e\xCC\x81 <|im_end|>", Tokenizer::Special::kParse,
                 ids);
    for (const TokenId id : ids) {
        if (id < 0 || id >= kVocabulary) std::abort();
        (void)(*tokenizer)->decode(id, true);
    }
    const auto chat =
        ChatTemplate::make(**tokenizer, read_hf_chat_template(files.tokenizer_config), "");
    if (chat.ok()) chat->render({{Role::kUser, "hi"}}, true, ids);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(bytes) + 1, size - 1);
    auto json = parse_json(text, "fuzz.json", 1u << 20);
    if (!json.ok()) return 0;
    if (bytes[0] == 'c') {
        read_config(*json);
    } else {
        read_tokenizer(std::move(*json));
    }
    return 0;
}
