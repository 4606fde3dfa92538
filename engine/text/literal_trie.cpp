// LiteralTrie: nodes with their edges in order of the byte.
#include "engine/text/literal_trie.h"

#include <algorithm>

namespace hearth::engine {

std::int32_t LiteralTrie::next(std::int32_t node, unsigned char byte) const {
    const std::vector<Edge>& edges = nodes_[at(node)].edges;
    const auto found =
        std::lower_bound(edges.begin(), edges.end(), byte,
                         [](const Edge& edge, unsigned char b) { return edge.byte < b; });
    return found != edges.end() && found->byte == byte ? found->node : -1;
}

bool LiteralTrie::add(std::string_view text) {
    std::int32_t known = 0;
    for (const char c : text)
        if (known >= 0) known = next(known, static_cast<unsigned char>(c));
    if (text.empty() || (known >= 0 && leaf(known) >= 0)) return false;
    std::int32_t node = 0;
    nodes_[0].leaves.push_back(size_);
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        std::int32_t child = next(node, byte);
        if (child < 0) {
            child = static_cast<std::int32_t>(nodes_.size());
            nodes_.emplace_back();
            std::vector<Edge>& edges = nodes_[at(node)].edges;
            const auto place = std::find_if(edges.begin(), edges.end(),
                                            [byte](const Edge& edge) { return edge.byte > byte; });
            edges.insert(place, Edge{byte, child});
        }
        node = child;
        nodes_[at(node)].leaves.push_back(size_);
    }
    nodes_[at(node)].leaf = size_++;
    return true;
}

bool LiteralTrie::leads_to(std::int32_t node, std::int32_t first, std::int32_t last) const {
    const std::vector<std::int32_t>& leaves = nodes_[at(node)].leaves;
    const auto found = std::lower_bound(leaves.begin(), leaves.end(), first);
    return found != leaves.end() && *found <= last;
}

}  // namespace hearth::engine
