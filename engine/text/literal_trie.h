// LiteralTrie: a set of texts, walked byte by byte.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace hearth::engine {

// Grown by add(), then only read; any thread. Nodes are numbers, the root is 0. Ends of texts are
// numbered in the order of add().
class LiteralTrie {
  public:
    LiteralTrie() : nodes_(1) {}

    // False, and nothing is changed, if the text is there already or is empty.
    bool add(std::string_view text);

    std::int32_t next(std::int32_t node, unsigned char byte) const;  // -1 = no text goes on so.
    // The text that ends at `node`, or -1.
    std::int32_t leaf(std::int32_t node) const { return nodes_[at(node)].leaf; }
    bool is_last(std::int32_t node) const { return nodes_[at(node)].edges.empty(); }
    // Does a text with a number in [first, last] go on from `node` or end there?
    bool leads_to(std::int32_t node, std::int32_t first, std::int32_t last) const;
    std::int32_t size() const { return size_; }

  private:
    struct Edge {
        unsigned char byte = 0;
        std::int32_t node = 0;
    };
    struct Node {
        std::vector<Edge> edges;           // By byte.
        std::vector<std::int32_t> leaves;  // Of texts that go through here, in order.
        std::int32_t leaf = -1;
    };
    static std::size_t at(std::int32_t node) { return static_cast<std::size_t>(node); }

    std::vector<Node> nodes_;
    std::int32_t size_ = 0;
};

}  // namespace hearth::engine
