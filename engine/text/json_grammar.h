// JsonGrammar: which texts are JSON of a wanted shape; what a JsonState walks.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/literal_trie.h"

namespace hearth::engine {

// Bounds of what is written, so that a model that goes on and on meets an end, and so that every
// reader takes the value for the same number.
constexpr std::int32_t kJsonDigitsMax = 15;         // Of an integer, and of a fraction.
constexpr std::int32_t kJsonExponentDigitsMax = 2;  // 1e99 is a double; 1e999 is not.
constexpr std::int32_t kJsonBlanksMax = 20;         // White space in one place.
constexpr std::size_t kJsonStackMax = 48;           // Open values; free ones open no more than ...
constexpr std::size_t kJsonFreeDepthMax = 32;       // ... this.

// Built node by node, children first, then only read; any thread. A shape is a number. Shapes of a
// schema nest at most 16 deep, so that the stack holds them.
class JsonGrammar {
  public:
    JsonGrammar();

    // Always there.
    static constexpr std::int32_t kAny = 0, kFreeObject = 1, kFreeArray = 2, kText = 3, kNumber = 4,
                                  kInteger = 5, kBoolean = 6, kNull = 7;

    // One of several texts, as they are spelled in JSON; at least one. Repeats count once.
    std::int32_t literals(const std::vector<std::string>& spelled);

    struct Member {
        std::string key;  // As spelled in JSON, with its quotes.
        std::int32_t shape = kAny;
        bool required = false;
    };
    // An object of these members, in this order and no others. Keys differ.
    std::int32_t record(const std::vector<Member>& members);

    // `most` < 0: no bound.
    std::int32_t array(std::int32_t items, std::int32_t least, std::int32_t most);

    // The first byte decides which; nothing if two of them can begin alike.
    std::optional<std::int32_t> one_of(const std::vector<std::int32_t>& shapes);

    struct Framed {
        std::string front;  // Not the front of another's.
        std::int32_t shape = kAny;
    };
    // A fixed text in front, the value that belongs to it, and a text behind, which may be empty.
    std::int32_t framed(const std::vector<Framed>& fronts, std::string back);

    void set_root(std::int32_t shape) { root_ = shape; }

    // What it holds beyond what is always there, for who bounds it.
    std::size_t shapes() const { return shapes_.size() - kNull - 1; }
    std::size_t text_nodes() const { return text_nodes_; }  // LiteralTrie's, 24 bytes each.

    // What follows is for JsonState.
    enum class Kind : std::uint8_t {
        kFreeObject,
        kRecord,
        kArray,
        kText,
        kNumber,
        kLiteral,
        kOneOf,
        kFramed,
    };
    struct Shape {
        Kind kind = Kind::kText;
        std::bitset<256> first;              // Bytes that it can begin with.
        LiteralTrie texts;                   // Keys, literals or fronts.
        std::vector<std::int32_t> children;  // Of each key or front; items; alternatives.
        std::vector<bool> required;          // Of each key.
        std::int32_t least = 0, most = -1;   // Items.
        bool whole = false;                  // kNumber: no fraction, no exponent.
        std::string back;                    // kFramed.

        // Of the keys from number `from` on, the first that is required, or the last of all.
        std::int32_t last_candidate(std::int32_t from) const;
        bool may_close(std::int32_t from) const;  // None of those is required.
    };
    const Shape& shape(std::int32_t number) const {
        return shapes_[static_cast<std::size_t>(number)];
    }
    std::int32_t root() const { return root_; }

  private:
    std::int32_t keep(Shape shape);

    std::vector<Shape> shapes_;
    std::size_t text_nodes_ = 0;
    std::int32_t root_ = kAny;
};

}  // namespace hearth::engine
