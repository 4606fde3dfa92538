// LiteralTrie: each node knows its first child and its next sibling.
#include "engine/text/literal_trie.h"

#include <algorithm>

namespace hearth::engine {

std::int32_t LiteralTrie::next(std::int32_t node, unsigned char byte) const {
    std::int32_t child = nodes_[at(node)].child;
    while (child >= 0 && nodes_[at(child)].byte != byte) child = nodes_[at(child)].sibling;
    return child;
}

void LiteralTrie::pass(std::int32_t node) {
    Node& passed = nodes_[at(node)];
    passed.low = std::min(passed.low, size_);
    passed.high = size_;
}

bool LiteralTrie::add(std::string_view text) {
    std::int32_t known = 0;
    for (const char c : text)
        if (known >= 0) known = next(known, static_cast<unsigned char>(c));
    if (text.empty() || (known >= 0 && leaf(known) >= 0)) return false;
    std::int32_t node = 0;
    pass(node);
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        std::int32_t child = next(node, byte);
        if (child < 0) {
            child = static_cast<std::int32_t>(nodes_.size());
            nodes_.emplace_back();
            nodes_.back().byte = byte;
            nodes_.back().sibling = nodes_[at(node)].child;
            nodes_[at(node)].child = child;
        }
        node = child;
        pass(node);
    }
    nodes_[at(node)].leaf = size_++;
    return true;
}

// Nearly always the least or the greatest tells; only texts on both sides need a look below.
bool LiteralTrie::leads_to(std::int32_t node, std::int32_t first, std::int32_t last) const {
    const Node& here = nodes_[at(node)];
    if (here.low > last || here.high < first) return false;
    if (here.low >= first || here.high <= last) return true;
    if (here.leaf >= first && here.leaf <= last) return true;
    for (std::int32_t child = here.child; child >= 0; child = nodes_[at(child)].sibling)
        if (leads_to(child, first, last)) return true;
    return false;
}

}  // namespace hearth::engine
