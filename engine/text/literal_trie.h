// LiteralTrie: a set of texts, walked byte by byte.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

namespace hearth::engine {

// Grown by add(), then only read; any thread. Nodes are numbers, the root is 0; each takes 24
// bytes, and there is one for each byte that texts do not share. Texts are numbered in the order of
// add().
class LiteralTrie {
  public:
    LiteralTrie() : nodes_(1) {}

    // False, and nothing is changed, if the text is there already or is empty.
    bool add(std::string_view text);

    std::int32_t next(std::int32_t node, unsigned char byte) const;  // -1 = no text goes on so.
    // The text that ends at `node`, or -1.
    std::int32_t leaf(std::int32_t node) const { return nodes_[at(node)].leaf; }
    bool is_last(std::int32_t node) const { return nodes_[at(node)].child < 0; }
    // Does a text with a number in [first, last] go on from `node` or end there?
    bool leads_to(std::int32_t node, std::int32_t first, std::int32_t last) const;
    std::int32_t size() const { return size_; }
    std::size_t nodes() const { return nodes_.size(); }

  private:
    struct Node {
        unsigned char byte = 0;
        std::int32_t leaf = -1;
        std::int32_t child = -1, sibling = -1;
        // Least and greatest of the texts that go through here.
        std::int32_t low = std::numeric_limits<std::int32_t>::max(), high = -1;
    };
    static std::size_t at(std::int32_t node) { return static_cast<std::size_t>(node); }
    void pass(std::int32_t node);

    std::vector<Node> nodes_;
    std::int32_t size_ = 0;
};

}  // namespace hearth::engine
