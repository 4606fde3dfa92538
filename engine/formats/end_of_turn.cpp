// The names of the tokens that mark turns in the model families that Hearth loads.
#include "engine/formats/end_of_turn.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace hearth::engine {

namespace {

constexpr std::array<std::string_view, 7> kEnds = {
    "<|im_end|>", "<|eot_id|>",    "<|end|>",       "<|end_of_text|>",
    "</s>",       "<|endoftext|>", "<end_of_turn>",
};
constexpr std::array<std::string_view, 10> kBeginnings = {
    "<|im_start|>", "<|start_header_id|>", "<|end_header_id|>", "<s>",    "<start_of_turn>",
    "<|user|>",     "<|assistant|>",       "<|system|>",        "[INST]", "[/INST]",
};

template <std::size_t N>
bool holds(const std::array<std::string_view, N>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

void add_end_of_turn(VocabularySpec& spec) {
    for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
        TokenType& type = spec.types[id];
        if (type != TokenType::kControl && type != TokenType::kUserDefined) continue;
        const bool ends = holds(kEnds, spec.tokens[id]);
        if (ends) spec.end_of_turn.push_back(static_cast<TokenId>(id));
        if (ends || holds(kBeginnings, spec.tokens[id])) type = TokenType::kControl;
    }
    auto& ids = spec.end_of_turn;
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    std::erase(ids, spec.eos);
}

}  // namespace hearth::engine
