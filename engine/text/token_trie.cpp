// TokenTrie: trees in preorder, so that a walk is one pass with jumps.
#include "engine/text/token_trie.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>

#include "engine/text/utf8.h"

namespace hearth::engine {
namespace {

// May it stand in a JSON text as it is, with whole characters only?
bool is_plain(const std::string& bytes) {
    const auto special = [](char c) {
        return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
    };
    if (std::any_of(bytes.begin(), bytes.end(), special)) return false;
    for (std::string_view rest = bytes; !rest.empty();) {
        const Utf8Step step = next_rune(rest);
        if (step.kind != Utf8Step::Kind::kRune) return false;
        rest.remove_prefix(step.length);
    }
    return true;
}

}  // namespace

TokenTrie::TokenTrie(const Tokenizer& tokenizer) : plain_(tokenizer.size()) {
    bytes_.resize(static_cast<std::size_t>(tokenizer.size()));
    std::vector<TokenId> all, mixed;
    std::array<bool, 256> spelled{};
    for (TokenId id = 0; id < tokenizer.size(); ++id) {
        if (tokenizer.ends_reply(id)) {
            ends_.push_back(id);
            continue;
        }
        std::string& text = bytes_[static_cast<std::size_t>(id)];
        text = tokenizer.decode(id);
        if (text.size() > std::numeric_limits<std::uint16_t>::max()) text.clear();
        if (text.empty()) continue;
        if (text.size() == 1) spelled[static_cast<unsigned char>(text[0])] = true;
        all.push_back(id);
        if (is_plain(text)) {
            plain_.add(id);
        } else {
            mixed.push_back(id);
        }
    }
    spells_all_ = true;
    for (std::size_t byte = 0x20; byte < 0xf5; ++byte)
        spells_all_ &= spelled[byte] || byte == 0x7f || byte == 0xc0 || byte == 0xc1;
    all_ = tree_of(std::move(all));
    mixed_ = tree_of(std::move(mixed));
}

TokenTrie::Tree TokenTrie::tree_of(std::vector<TokenId> ids) const {
    const auto text = [this](TokenId id) -> const std::string& { return bytes(id); };
    std::sort(ids.begin(), ids.end(), [&](TokenId a, TokenId b) {
        const int order = text(a).compare(text(b));
        return order != 0 ? order < 0 : a < b;
    });
    Tree tree;
    std::vector<std::uint32_t> path;  // Nodes of the last text.
    const auto leave = [&](std::size_t depth) {
        for (; path.size() > depth; path.pop_back())
            tree.nodes[path.back()].end = static_cast<std::uint32_t>(tree.nodes.size());
    };
    for (const TokenId id : ids) {
        const std::string& bytes = text(id);
        std::size_t common = 0;
        while (common < path.size() && common < bytes.size() &&
               tree.nodes[path[common]].byte == static_cast<unsigned char>(bytes[common]))
            ++common;
        leave(common);
        for (std::size_t depth = common; depth < bytes.size(); ++depth) {
            const auto at = static_cast<std::uint32_t>(tree.ids.size());
            path.push_back(static_cast<std::uint32_t>(tree.nodes.size()));
            tree.nodes.push_back({static_cast<unsigned char>(bytes[depth]),
                                  static_cast<std::uint16_t>(depth), 0, at, at});
        }
        tree.ids.push_back(id);
        tree.nodes[path.back()].last = static_cast<std::uint32_t>(tree.ids.size());
        tree.height = std::max(tree.height, bytes.size());
    }
    leave(0);
    return tree;
}

void TokenTrie::walk(const Tree& tree, const JsonState& state, TokenMask& out) {
    // States behind each byte of the path; kept between calls, as each is close to a KiB.
    thread_local std::vector<JsonState> states;
    if (states.size() < tree.height + 1) states.resize(tree.height + 1, state);
    states[0] = state;
    for (std::uint32_t i = 0; i < tree.nodes.size();) {
        const Node& node = tree.nodes[i];
        JsonState& next = states[node.depth + 1u];
        next = states[node.depth];
        if (!next.push(node.byte)) {
            i = node.end;
            continue;
        }
        for (std::uint32_t k = node.first; k < node.last; ++k) out.add(tree.ids[k]);
        ++i;
    }
}

void TokenTrie::allow(const JsonState& state, TokenMask& out) const {
    const bool in_text = state.is_in_text();
    if (in_text) {
        out = plain_;
    } else {
        out = TokenMask(tokens());
    }
    walk(in_text ? mixed_ : all_, state, out);
    if (!state.may_end()) return;
    for (const TokenId id : ends_) out.add(id);
}

}  // namespace hearth::engine
