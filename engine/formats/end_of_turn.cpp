// The names of end-of-turn tokens in the model families that Hearth loads.
#include "engine/formats/end_of_turn.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace hearth::engine {

namespace {

constexpr std::array<std::string_view, 6> kNames = {
    "<|im_end|>", "<|eot_id|>", "<|end|>", "<|end_of_text|>", "</s>", "<|endoftext|>",
};

}  // namespace

void add_end_of_turn(VocabularySpec& spec) {
    for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
        const bool special =
            spec.types[id] == TokenType::kControl || spec.types[id] == TokenType::kUserDefined;
        if (special && std::find(kNames.begin(), kNames.end(), spec.tokens[id]) != kNames.end())
            spec.end_of_turn.push_back(static_cast<TokenId>(id));
    }
    auto& ids = spec.end_of_turn;
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    std::erase(ids, spec.eos);
}

}  // namespace hearth::engine
