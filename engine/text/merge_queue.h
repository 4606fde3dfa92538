// merge_symbols: the greedy pairwise merging under both BPE and SentencePiece, in O(n log n).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/model/config.h"

namespace hearth::engine {

// One symbol of a word in a doubly linked list over a vector.
struct Symbol {
    TokenId id = -1;          // -1: no token stands for it (yet).
    std::uint32_t begin = 0;  // Its bytes in the word.
    std::uint32_t length = 0;
    std::int32_t prev = -1;
    std::int32_t next = -1;
};

// A pair that may merge; stale once either side has changed.
template <typename Priority>
struct MergeCandidate {
    Priority priority{};
    std::int32_t left = -1;
    TokenId left_id = -1, right_id = -1;
    TokenId merged = -1;
};

// Links `symbols` in order, then merges, best priority first and leftmost among equals, until no
// pair merges. `find(left, right, candidate)` fills priority and merged and returns true if the two
// symbols make a token. The smaller priority is better. `heap` is scratch.
template <typename Priority, typename Find>
void merge_symbols(std::vector<Symbol>& symbols, std::vector<MergeCandidate<Priority>>& heap,
                   const Find& find) {
    using Candidate = MergeCandidate<Priority>;
    const auto worse = [](const Candidate& a, const Candidate& b) {
        return a.priority != b.priority ? a.priority > b.priority : a.left > b.left;
    };
    const auto candidate_at = [&](std::int32_t left, Candidate& c) {
        const Symbol& a = symbols[static_cast<std::size_t>(left)];
        if (a.next < 0) return false;
        const Symbol& b = symbols[static_cast<std::size_t>(a.next)];
        if (!find(a, b, c)) return false;
        c.left = left;
        c.left_id = a.id;
        c.right_id = b.id;
        return true;
    };
    const auto count = static_cast<std::int32_t>(symbols.size());
    heap.clear();
    for (std::int32_t i = 0; i < count; ++i) {
        symbols[static_cast<std::size_t>(i)].prev = i - 1;
        symbols[static_cast<std::size_t>(i)].next = i + 1 < count ? i + 1 : -1;
    }
    Candidate c;
    for (std::int32_t i = 0; i + 1 < count; ++i) {
        if (candidate_at(i, c)) heap.push_back(c);
    }
    std::make_heap(heap.begin(), heap.end(), worse);
    const auto push_at = [&](std::int32_t left) {
        if (left < 0 || !candidate_at(left, c)) return;
        heap.push_back(c);
        std::push_heap(heap.begin(), heap.end(), worse);
    };
    while (!heap.empty()) {
        std::pop_heap(heap.begin(), heap.end(), worse);
        const Candidate best = heap.back();
        heap.pop_back();
        Symbol& left = symbols[static_cast<std::size_t>(best.left)];
        if (left.length == 0 || left.id != best.left_id || left.next < 0) continue;
        Symbol& right = symbols[static_cast<std::size_t>(left.next)];
        if (right.id != best.right_id) continue;
        left.id = best.merged;
        left.length += right.length;
        right.length = 0;  // Gone.
        left.next = right.next;
        if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].prev = best.left;
        push_at(left.prev);
        push_at(best.left);
    }
}

}  // namespace hearth::engine
