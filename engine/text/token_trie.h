// TokenTrie: the vocabulary as a tree of bytes: which tokens go on with a text that a grammar
// wants.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/text/json_state.h"
#include "engine/text/token_mask.h"
#include "engine/text/tokenizer.h"

namespace hearth::engine {

// Immutable after construction; any thread. The tokenizer is not needed afterwards. Control tokens
// and those that end a reply are in no tree.
class TokenTrie {
  public:
    explicit TokenTrie(const Tokenizer& tokenizer);

    // Is every byte of UTF-8 a token? Otherwise a grammar could want what no token spells.
    bool spells_all() const { return spells_all_; }
    // Sets `out` to the tokens all of whose bytes `state` takes, and those that end a reply if it
    // may end there. Costs the tree's nodes that the grammar lets through; within a text value,
    // where that would be nearly all, only tokens that are more than plain text are walked.
    void allow(const JsonState& state, TokenMask& out) const;
    std::int32_t tokens() const { return static_cast<std::int32_t>(bytes_.size()); }
    const std::string& bytes(TokenId id) const { return bytes_[static_cast<std::size_t>(id)]; }

  private:
    // In preorder: behind a node come all below it, and then `end`.
    struct Node {
        unsigned char byte = 0;
        std::uint16_t depth = 0;  // Of its byte; the first is 0.
        std::uint32_t end = 0;
        std::uint32_t first = 0, last = 0;  // Its tokens in `ids`.
    };
    struct Tree {
        std::vector<Node> nodes;
        std::vector<TokenId> ids;
        std::size_t height = 0;
    };
    Tree tree_of(std::vector<TokenId> ids) const;
    static void walk(const Tree& tree, const JsonState& state, TokenMask& out);

    std::vector<std::string> bytes_;  // By id; empty = in no tree.
    std::vector<TokenId> ends_;
    Tree all_;
    Tree mixed_;       // Tokens that are more than plain text.
    TokenMask plain_;  // The others.
    bool spells_all_ = false;
};

// What a reply is bound to: the grammar and the vocabulary that spells it.
struct TokenGrammar {
    JsonGrammar json;
    std::shared_ptr<const TokenTrie> tokens;
};

}  // namespace hearth::engine
