// Radix tree over pages. Nodes live in one flat list, so that no walk and no destructor recurses.
#include "cachenode/kv/prefix_tree.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "cachenode/kv/eviction.h"
#include "common/base/check.h"
#include "engine/model/kv_layout.h"

namespace hearth {
namespace {

using engine::TokenId;
using Tokens = std::span<const TokenId>;
constexpr std::size_t kPage = engine::kPageTokens;

std::size_t common_prefix(Tokens a, Tokens b) {
    const auto ends = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
    return static_cast<std::size_t>(ends.first - a.begin());
}

bool starts_with(Tokens whole, Tokens prefix) {
    return whole.size() >= prefix.size() && common_prefix(whole, prefix) == prefix.size();
}

}  // namespace

struct PrefixTree::ByTokens {
    using is_transparent = void;
    bool operator()(const Node* a, const Node* b) const;
    bool operator()(const Node* a, Tokens b) const;
    bool operator()(Tokens a, const Node* b) const;
};

struct PrefixTree::Node {
    Node* parent = nullptr;  // Null for a root.
    std::size_t slot = 0;    // In nodes_.
    PageHash hash;
    std::vector<TokenId> tokens;  // Empty for a root.
    Page page;
    std::set<Node*, ByTokens> children;
    std::int64_t pins = 0;  // Leases on it or on anything below it.
    MonotonicNs last_used = 0;
    std::uint64_t use = 0;
    bool follow_up = false;
    const std::string* salt = nullptr;  // Of a root: its key in roots_.
};

bool PrefixTree::ByTokens::operator()(const Node* a, const Node* b) const {
    return std::ranges::lexicographical_compare(a->tokens, b->tokens);
}
bool PrefixTree::ByTokens::operator()(const Node* a, Tokens b) const {
    return std::ranges::lexicographical_compare(a->tokens, b);
}
bool PrefixTree::ByTokens::operator()(Tokens a, const Node* b) const {
    return std::ranges::lexicographical_compare(a, b->tokens);
}

PrefixTree::Lease& PrefixTree::Lease::operator=(Lease&& other) noexcept {
    if (this == &other) return *this;
    reset();
    tree_ = std::exchange(other.tree_, nullptr);
    last_ = std::exchange(other.last_, nullptr);
    tail_ = std::exchange(other.tail_, nullptr);
    tail_tokens_ = std::exchange(other.tail_tokens_, 0);
    pages_ = std::exchange(other.pages_, {});
    return *this;
}

std::int64_t PrefixTree::Lease::tokens() const {
    return static_cast<std::int64_t>(pages_.size() * kPage) + tail_tokens_;
}

void PrefixTree::Lease::copy_tail(const Page& into) {
    CHECK(tail_ != nullptr);
    const Page& from = tail_->page;
    std::memcpy(into.data(), from.data(), tree_->page_bytes_);
    drop_tail();
}

void PrefixTree::Lease::drop_tail() {
    if (tail_ == nullptr) return;
    tree_->unpin(std::exchange(tail_, nullptr));
    tail_tokens_ = 0;
}

void PrefixTree::Lease::reset() {
    if (tree_ == nullptr) return;
    drop_tail();
    tree_->unpin(std::exchange(last_, nullptr));
    tree_ = nullptr;
    pages_.clear();
}

PrefixTree::PrefixTree(std::uint64_t model_fingerprint, std::size_t page_bytes,
                       std::size_t ghosts_max, ChainHash chain)
    : model_fingerprint_(model_fingerprint),
      chain_(chain),
      page_bytes_(page_bytes),
      ghosts_(ghosts_max) {}

PrefixTree::~PrefixTree() {
    CHECK_MSG(pages_pinned_ == 0, "a lease outlived the prefix tree");
}

PrefixTree::Node* PrefixTree::root_of(const std::string& salt) {
    const auto [at, is_new] = roots_.try_emplace(salt);
    if (is_new) {
        at->second = std::make_unique<Node>();
        at->second->hash = root_hash(model_fingerprint_, salt);
        at->second->salt = &at->first;
    }
    return at->second.get();
}

PrefixTree::Node* PrefixTree::whole_child(Node* at, const PageHash& hash, Tokens tokens) const {
    const auto found = whole_pages_.find(hash);
    if (found == whole_pages_.end()) return nullptr;
    Node* const node = found->second;
    return node->parent == at && std::ranges::equal(node->tokens, tokens) ? node : nullptr;
}

PrefixTree::Lease PrefixTree::match(const std::string& salt, Tokens tokens, const PrefixUse& use) {
    Lease lease;
    Node* at = root_of(salt);
    std::size_t matched = 0;
    while (matched + kPage <= tokens.size()) {
        const Tokens next = tokens.subspan(matched, kPage);
        Node* const child = whole_child(at, chain_(at->hash, next), next);
        if (child == nullptr) break;
        touch(child, use);
        lease.pages_.push_back(child->page.data());
        at = child;
        matched += kPage;
    }
    // The sibling that shares most with the rest stands right before or after the rest's place.
    const Tokens rest = tokens.subspan(matched, std::min(kPage, tokens.size() - matched));
    const auto after = at->children.lower_bound(rest);
    Node* tail = nullptr;
    std::size_t shared = 0;
    const auto consider = [&](Node* child) {
        // A whole page would have been found, but for a collision; then 63 of its tokens will do.
        const std::size_t n = std::min(common_prefix(child->tokens, rest), kPage - 1);
        if (n <= shared) return;
        tail = child;
        shared = n;
    };
    if (after != at->children.end()) consider(*after);
    if (after != at->children.begin()) consider(*std::prev(after));
    if (tail != nullptr) {
        touch(tail, use);
        pin(tail);
    }
    pin(at);
    lease.tree_ = this;
    lease.last_ = at;
    lease.tail_ = tail;
    lease.tail_tokens_ = static_cast<std::int64_t>(shared);
    return lease;
}

std::byte* PrefixTree::extend(Lease& lease, Tokens tokens, Page page, const PrefixUse& use) {
    CHECK(lease.tree_ == this && lease.tail_ == nullptr && tokens.size() == kPage && page);
    Node* const at = lease.last_;
    const auto same = at->children.find(tokens);
    Node* const node = same != at->children.end() ? *same : insert(at, tokens, std::move(page));
    touch(node, use);
    if (node->pins++ == 0) ++pages_pinned_;  // The pages before it keep the lease's pin.
    lease.last_ = node;
    lease.pages_.push_back(node->page.data());
    return node->page.data();
}

void PrefixTree::store_tail(Lease& lease, Tokens tokens, Page page, const PrefixUse& use) {
    CHECK(lease.tree_ == this && !tokens.empty() && tokens.size() < kPage && page);
    Node* const at = lease.last_;
    const auto after = at->children.lower_bound(tokens);
    const bool is_stored = after != at->children.end() && starts_with((*after)->tokens, tokens);
    touch(is_stored ? *after : insert(at, tokens, std::move(page)), use);
}

PrefixTree::Node* PrefixTree::insert(Node* parent, Tokens tokens, Page page) {
    // At most one sibling is a prefix of the new page, and it stands right before its place. It is
    // superseded, unless someone is about to copy it.
    const auto after = parent->children.lower_bound(tokens);
    if (after != parent->children.begin()) {
        Node* const before = *std::prev(after);
        if (starts_with(tokens, before->tokens) && before->pins == 0) remove(before);
    }
    auto node = std::make_unique<Node>();
    node->parent = parent;
    node->slot = nodes_.size();
    node->hash = chain_(parent->hash, tokens);
    node->tokens.assign(tokens.begin(), tokens.end());
    node->page = std::move(page);
    ghosts_.cached_again(node->hash);
    if (tokens.size() == kPage) whole_pages_.try_emplace(node->hash, node.get());
    parent->children.insert(node.get());
    nodes_.push_back(std::move(node));
    return nodes_.back().get();
}

void PrefixTree::remove(Node* node) {
    CHECK(node->children.empty() && node->pins == 0 && node->parent != nullptr);
    Node* const parent = node->parent;
    parent->children.erase(node);
    const auto indexed = whole_pages_.find(node->hash);
    if (indexed != whole_pages_.end() && indexed->second == node) whole_pages_.erase(indexed);
    const std::size_t slot = node->slot;
    std::swap(nodes_[slot], nodes_.back());
    nodes_[slot]->slot = slot;
    nodes_.pop_back();
    if (parent->parent == nullptr) drop_root_if_unused(parent);
}

void PrefixTree::drop_root_if_unused(Node* root) {
    if (!root->children.empty() || root->pins > 0) return;
    const std::string salt = *root->salt;  // The key goes with the entry.
    roots_.erase(salt);
}

void PrefixTree::touch(Node* node, const PrefixUse& use) {
    node->last_used = use.now;
    node->follow_up = use.follow_up;
    node->use = ++uses_;
}

void PrefixTree::pin(Node* node) {
    for (; node->parent != nullptr; node = node->parent) {
        if (node->pins++ == 0) ++pages_pinned_;
    }
    ++node->pins;
}

void PrefixTree::unpin(Node* node) {
    for (; node->parent != nullptr; node = node->parent) {
        CHECK(node->pins > 0);
        if (--node->pins == 0) --pages_pinned_;
    }
    CHECK(node->pins > 0);
    --node->pins;
    drop_root_if_unused(node);
}

std::int64_t PrefixTree::evict(std::int64_t pages) {
    std::vector<EvictionCandidate> candidates;
    candidates.reserve(nodes_.size());
    for (const auto& node : nodes_) {
        const bool below_root = node->parent->parent == nullptr;
        candidates.push_back(
            {.parent = below_root ? -1 : static_cast<std::int32_t>(node->parent->slot),
             .pinned = node->pins > 0,
             .follow_up = node->follow_up,
             .last_used = node->last_used,
             .use = node->use});
    }
    std::vector<Node*> victims;  // Slots change as nodes go.
    for (const std::int32_t index : plan_eviction(candidates, pages)) {
        victims.push_back(nodes_[static_cast<std::size_t>(index)].get());
    }
    for (Node* const victim : victims) {
        if (victim->tokens.size() == kPage) ghosts_.evicted(victim->hash);
        remove(victim);
    }
    pages_evicted_ += static_cast<std::int64_t>(victims.size());
    return static_cast<std::int64_t>(victims.size());
}

std::int64_t PrefixTree::known_tokens(const std::string& salt, Tokens tokens) const {
    PageHash hash = root_hash(model_fingerprint_, salt);
    std::size_t known = 0;
    for (; known + kPage <= tokens.size(); known += kPage) {
        hash = chain_(hash, tokens.subspan(known, kPage));
        if (!whole_pages_.contains(hash) && !ghosts_.was_evicted(hash)) break;
    }
    return static_cast<std::int64_t>(known);
}

void PrefixTree::check() const {
    std::size_t children = 0;
    std::int64_t pinned = 0;
    const auto check_children = [&](const Node& node) {
        children += node.children.size();
        const Node* before = nullptr;
        std::int64_t pins_below = 0;
        for (const Node* child : node.children) {
            CHECK(child->parent == &node && child->page && !child->tokens.empty());
            CHECK(child->hash == chain_(node.hash, child->tokens));
            pins_below += child->pins;
            const bool is_prefix = before != nullptr && starts_with(child->tokens, before->tokens);
            CHECK_MSG(!is_prefix || before->pins > 0, "a page is a prefix of its sibling");
            before = child;
        }
        CHECK(pins_below <= node.pins);
    };
    for (const auto& [salt, root] : roots_) check_children(*root);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        const Node& node = *nodes_[i];
        CHECK(node.slot == i);
        CHECK(node.tokens.size() == kPage || node.children.empty());
        check_children(node);
        if (node.pins > 0) ++pinned;
    }
    CHECK(children == nodes_.size() && pinned == pages_pinned_);
}

}  // namespace hearth
