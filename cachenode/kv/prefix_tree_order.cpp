// The prefix tree's order of eviction: uses, pins, soft pins, leaves, and what goes when.
#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <utility>

#include "cachenode/kv/prefix_tree.h"
#include "common/base/check.h"

namespace hearth {
namespace {

constexpr MonotonicNs kHeldMax = std::numeric_limits<std::uint32_t>::max() * kMs;

}  // namespace

void PrefixTree::touch(NodeId id, const PrefixUse& use) {
    Node& node = nodes_[id];
    if (node.is_leaf) leaves_.erase(leaf_of(id));
    const MonotonicNs kept_until = node.last_used + node.held_ms * kMs;  // If it is kept.
    node.last_used = use.now;
    node.use = ++uses_;
    newest_use_ = std::max(newest_use_, use.now);
    if (node.owner != use.owner) node.owner = 0;
    PageWorth worth;
    worth.last_used = use.now;
    if (use.follow_up) worth.bonus = faded_bonus(use.follow_up_bonus, residence());
    worth.rebuild_cost = static_cast<double>(node.tokens) / engine::kPageTokens;
    keep(node, use);
    if (node.is_kept) worth.kept_until = std::max(use.keep_until, kept_until);
    const MonotonicNs held = std::min(eviction_rank(worth) - use.now, kHeldMax);
    node.held_ms = static_cast<std::uint32_t>(held / kMs);
    held_max_ = std::max(held_max_, held);
    if (node.is_leaf) leaves_.insert(leaf_of(id));
}

// A soft pin is a rank in the future, nothing more: when all else is gone, kept pages go too. What
// keeps one client from filling the pool with them is the limit.
void PrefixTree::keep(Node& node, const PrefixUse& use) {
    if (node.is_kept) {
        const bool is_over = node.last_used + node.held_ms * kMs <= use.now;
        if (!is_over || use.keep_until > use.now) return;
        node.is_kept = false;
        --pages_kept_;
        return;
    }
    if (use.keep_until <= use.now) return;
    if (pages_kept_ >= policy_.kept_pages_max && use.now - kept_counted_ >= kSecond) {
        kept_counted_ = use.now;  // Pins that are over since may hold the room.
        for (NodeId id = 0; id < nodes_.size(); ++id) {
            Node& other = nodes_[id];
            if (!other.is_kept || other.last_used + other.held_ms * kMs > use.now) continue;
            other.is_kept = false;
            --pages_kept_;
        }
    }
    if (pages_kept_ >= policy_.kept_pages_max) return;
    node.is_kept = true;
    ++pages_kept_;
}

PrefixTree::Leaf PrefixTree::leaf_of(NodeId id) const {
    const Node& node = nodes_[id];
    return {node.last_used + node.held_ms * kMs, node.use, id};
}

void PrefixTree::list_leaf(NodeId id) {
    Node& node = nodes_[id];
    const bool is_leaf = node.parent != kNone && node.child == kNone && node.pins == 0;
    if (is_leaf == node.is_leaf) return;
    node.is_leaf = is_leaf;
    if (is_leaf) {
        leaves_.insert(leaf_of(id));
    } else {
        leaves_.erase(leaf_of(id));
    }
}

void PrefixTree::pin(NodeId id) {
    for (; nodes_[id].parent != kNone; id = nodes_[id].parent) {
        if (nodes_[id].pins++ == 0) ++pages_pinned_;
        list_leaf(id);
    }
    ++nodes_[id].pins;
}

void PrefixTree::unpin(NodeId id) {
    for (; nodes_[id].parent != kNone; id = nodes_[id].parent) {
        CHECK(nodes_[id].pins > 0);
        if (--nodes_[id].pins == 0) --pages_pinned_;
        list_leaf(id);
    }
    CHECK(nodes_[id].pins > 0);
    --nodes_[id].pins;
    drop_root_if_unused(id);
}

// The victims of plan_eviction() over all pages, from those that are leaves now, in a time that
// does not grow with the tree.
std::vector<PrefixTree::NodeId> PrefixTree::plan(std::int64_t pages) const {
    std::vector<NodeId> victims;
    std::priority_queue<Leaf, std::vector<Leaf>, std::greater<>> exposed;
    std::unordered_map<NodeId, std::size_t> children_left;
    auto next = leaves_.begin();
    while (static_cast<std::int64_t>(victims.size()) < pages) {
        const bool has_exposed = !exposed.empty();
        if (!has_exposed && next == leaves_.end()) break;
        NodeId victim = kNone;
        if (has_exposed && (next == leaves_.end() || exposed.top() < *next)) {
            victim = exposed.top().id;
            exposed.pop();
        } else {
            victim = (next++)->id;
        }
        victims.push_back(victim);
        const NodeId parent = nodes_[victim].parent;
        if (nodes_[parent].parent == kNone || nodes_[parent].pins > 0) continue;
        const std::size_t children = children_of(nodes_[parent]).size();
        if (children > 1) {
            auto& left = children_left.try_emplace(parent, children).first->second;
            if (--left > 0) continue;
        }
        exposed.push(leaf_of(parent));
    }
    return victims;
}

std::int64_t PrefixTree::evict(std::int64_t pages) {
    constexpr double kFade = 0.995;  // Of the older ones, per victim.
    const std::vector<NodeId> victims = plan(pages);
    for (const NodeId victim : victims) {
        const auto unused = static_cast<double>(newest_use_ - nodes_[victim].last_used);
        residence_ns_ = kFade * residence_ns_ + (1 - kFade) * unused;
        if (nodes_[victim].tokens == engine::kPageTokens) {
            ghosts_.gone(nodes_[victim].hash, PageFate::kEvicted);
        }
        remove(victim);
    }
    pages_evicted_ += static_cast<std::int64_t>(victims.size());
    return static_cast<std::int64_t>(victims.size());
}

std::int64_t PrefixTree::expire(MonotonicNs now) {
    if (policy_.ttl == 0) return 0;
    std::int64_t expired = 0;
    for (bool has_found = true; has_found;) {  // What goes may lay its parent bare.
        std::vector<NodeId> overdue;
        for (const Leaf& leaf : leaves_) {
            if (leaf.rank > now - policy_.ttl + held_max_) break;
            const Node& node = nodes_[leaf.id];
            const bool is_kept = node.is_kept && leaf.rank > now;
            if (node.last_used + policy_.ttl <= now && !is_kept) overdue.push_back(leaf.id);
        }
        has_found = !overdue.empty();
        for (const NodeId id : overdue) {
            if (nodes_[id].tokens == engine::kPageTokens) {
                ghosts_.gone(nodes_[id].hash, PageFate::kExpired);
            }
            remove(id);
        }
        expired += static_cast<std::int64_t>(overdue.size());
    }
    pages_expired_ += expired;
    return expired;
}

std::int64_t PrefixTree::erase(std::uint32_t owner) {
    CHECK(owner != 0);
    std::int64_t erased = 0;
    for (NodeId id = 0; id < nodes_.size(); ++id) {
        // Up from each of its leaves. What follows a page of one session is that session's too.
        for (NodeId at = id; nodes_[at].is_leaf && nodes_[at].owner == owner;) {
            const NodeId parent = nodes_[at].parent;
            remove(at);
            ++erased;
            if (nodes_[parent].parent == kNone) break;  // The root may be gone by now.
            at = parent;
        }
    }
    return erased;
}

std::int64_t PrefixTree::erase(Lease lease, std::uint32_t owner) {
    CHECK(owner != 0 && lease.tree_ == this);
    std::vector<NodeId> path;  // From the last page up, the tail before them.
    if (lease.tail_ != kNone) path.push_back(lease.tail_);
    for (NodeId id = lease.last_; nodes_[id].parent != kNone; id = nodes_[id].parent)
        path.push_back(id);
    lease.reset();
    std::int64_t erased = 0;
    for (const NodeId id : path) {
        if (!nodes_[id].is_leaf || nodes_[id].owner != owner) break;
        remove(id);
        ++erased;
    }
    return erased;
}

std::size_t PrefixTree::index_bytes() const {
    constexpr std::size_t kSetNode = 32 + sizeof(Leaf) + 16;  // With malloc's own words.
    std::size_t bytes = static_cast<std::size_t>(nodes_.size()) * sizeof(Node) +
                        whole_pages_.bytes() + leaves_.size() * kSetNode +
                        fans_.capacity() * sizeof(fans_[0]);
    for (const auto& fan : fans_) bytes += fan.capacity() * sizeof(NodeId);
    return bytes + free_nodes_.capacity() * sizeof(NodeId);
}

void PrefixTree::check_plan() const {
    std::vector<EvictionCandidate> candidates;
    std::unordered_map<NodeId, std::int32_t> index;
    std::vector<NodeId> ids;
    for (NodeId id = 0; id < nodes_.size(); ++id) {
        if (nodes_[id].tokens == 0) continue;
        index[id] = static_cast<std::int32_t>(ids.size());
        ids.push_back(id);
    }
    for (const NodeId id : ids) {
        const Node& node = nodes_[id];
        const auto parent = index.find(node.parent);
        candidates.push_back({.parent = parent == index.end() ? -1 : parent->second,
                              .pinned = node.pins > 0,
                              .rank = leaf_of(id).rank,
                              .use = node.use});
    }
    const auto count = static_cast<std::int64_t>(ids.size()) / 2 + 1;
    std::vector<NodeId> expected;
    for (const std::int32_t at : plan_eviction(candidates, count)) {
        expected.push_back(ids[static_cast<std::size_t>(at)]);
    }
    CHECK(plan(count) == expected);
}

void PrefixTree::check_node(NodeId id) const {
    const Node& node = nodes_[id];
    CHECK(node.child == kNone || node.tokens == 0 || node.tokens == engine::kPageTokens);
    const bool is_leaf = node.parent != kNone && node.child == kNone && node.pins == 0;
    CHECK(node.is_leaf == is_leaf && leaves_.contains(leaf_of(id)) == is_leaf);
    Tokens before;
    std::int64_t pins_below = 0;
    bool was_pinned = false;
    for (const NodeId child_id : children_of(node)) {
        const Node& child = nodes_[child_id];
        const Tokens tokens = tokens_of(child_id);
        CHECK(child.parent == id && child.page && !tokens.empty());
        CHECK(child.hash == chain_(node.hash, tokens));
        CHECK(child.owner == node.owner || node.tokens == 0 || node.owner == 0);
        pins_below += child.pins;
        const bool is_prefix = !before.empty() && tokens.size() >= before.size() &&
                               std::ranges::equal(before, tokens.first(before.size()));
        CHECK_MSG(!is_prefix || was_pinned, "a page is a prefix of its sibling");
        before = tokens;
        was_pinned = child.pins > 0;
    }
    CHECK(pins_below <= node.pins);
}

void PrefixTree::check() const {
    std::int64_t pages = 0, pinned = 0, kept = 0;
    std::size_t children = 0;
    for (NodeId id = 0; id < nodes_.size(); ++id) {
        const Node& node = nodes_[id];
        const bool is_root = salts_.contains(id);
        if (node.tokens == 0 && !is_root) continue;  // Free.
        CHECK(is_root == (node.parent == kNone));
        check_node(id);
        children += children_of(node).size();
        if (is_root) continue;
        ++pages;
        pinned += node.pins > 0 ? 1 : 0;
        kept += node.is_kept ? 1 : 0;
    }
    CHECK(pages == pages_ && pinned == pages_pinned_ && kept == pages_kept_);
    CHECK(children == static_cast<std::size_t>(pages_) && salts_.size() == roots_.size());
    check_plan();
}

}  // namespace hearth
