// Finding and storing pages. Nodes lie in one slab, so that no walk and no destructor recurses.
#include "cachenode/kv/prefix_tree.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cachenode/kv/page_checksum.h"
#include "common/base/check.h"

namespace hearth {
namespace {

using engine::TokenId;
constexpr std::size_t kPage = engine::kPageTokens;

std::size_t common_prefix(std::span<const TokenId> a, std::span<const TokenId> b) {
    const auto ends = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
    return static_cast<std::size_t>(ends.first - a.begin());
}

bool starts_with(std::span<const TokenId> whole, std::span<const TokenId> prefix) {
    return whole.size() >= prefix.size() && common_prefix(whole, prefix) == prefix.size();
}

}  // namespace

PrefixTree::Lease& PrefixTree::Lease::operator=(Lease&& other) noexcept {
    if (this == &other) return *this;
    reset();
    tree_ = std::exchange(other.tree_, nullptr);
    last_ = std::exchange(other.last_, kNone);
    tail_ = std::exchange(other.tail_, kNone);
    tail_tokens_ = std::exchange(other.tail_tokens_, 0);
    was_corrupt_ = std::exchange(other.was_corrupt_, false);
    pages_ = std::exchange(other.pages_, {});
    return *this;
}

std::int64_t PrefixTree::Lease::tokens() const {
    return static_cast<std::int64_t>(pages_.size() * kPage) + tail_tokens_;
}

std::vector<CachedPage> PrefixTree::Lease::cached_pages() const {
    std::vector<CachedPage> out;
    if (tree_ == nullptr) return out;
    const auto add = [&](NodeId id) {
        const Node& node = tree_->nodes_[id];
        out.push_back({node.hash, tree_->nodes_[node.parent].hash, tree_->tokens_of(id),
                       node.checksum, node.page.data(), node.owner});
    };
    for (NodeId id = last_; tree_->nodes_[id].parent != kNone; id = tree_->nodes_[id].parent) {
        add(id);
    }
    std::reverse(out.begin(), out.end());
    if (tail_ != kNone) add(tail_);
    return out;
}

PageHash PrefixTree::Lease::end() const {
    return tree_->nodes_[last_].hash;
}

void PrefixTree::Lease::copy_tail(const Page& into) {
    CHECK(tail_ != kNone);
    std::memcpy(into.data(), tree_->nodes_[tail_].page.data(), tree_->page_bytes_);
    drop_tail();
}

void PrefixTree::Lease::drop_tail() {
    if (tail_ == kNone) return;
    tree_->unpin(std::exchange(tail_, kNone));
    tail_tokens_ = 0;
}

void PrefixTree::Lease::reset() {
    if (tree_ == nullptr) return;
    drop_tail();
    tree_->unpin(std::exchange(last_, kNone));
    tree_ = nullptr;
    pages_.clear();
}

PrefixTree::PrefixTree(std::uint64_t model_fingerprint, std::size_t page_bytes,
                       std::size_t ghosts_max, ChainHash chain, PrefixTreePolicy policy)
    : model_fingerprint_(model_fingerprint),
      chain_(chain),
      page_bytes_(page_bytes),
      policy_(policy),
      ghosts_(ghosts_max) {}

PrefixTree::~PrefixTree() {
    CHECK_MSG(pages_pinned_ == 0, "a lease outlived the prefix tree");
}

PrefixTree::Tokens PrefixTree::tokens_of(NodeId id) const {
    return Tokens(ids_[id]).first(nodes_[id].tokens);
}

std::span<const PrefixTree::NodeId> PrefixTree::children_of(const Node& node) const {
    if (node.child == kNone) return {};
    if (node.child >= 0) return {&node.child, 1};
    return fans_[static_cast<std::size_t>(-2 - node.child)];
}

// The place of `tokens` among the children, by their order.
std::size_t PrefixTree::lower_bound(const Node& parent, Tokens tokens) const {
    const auto children = children_of(parent);
    const auto at = std::lower_bound(
        children.begin(), children.end(), tokens, [this](NodeId child, Tokens sought) {
            return std::ranges::lexicographical_compare(tokens_of(child), sought);
        });
    return static_cast<std::size_t>(at - children.begin());
}

void PrefixTree::add_child(NodeId parent_id, NodeId child) {
    Node& parent = nodes_[parent_id];
    const std::size_t place = lower_bound(parent, tokens_of(child));
    if (parent.child == kNone) {
        parent.child = child;
        return;
    }
    if (parent.child >= 0) {
        if (free_fans_.empty()) {
            fans_.emplace_back();
            free_fans_.push_back(static_cast<NodeId>(fans_.size()) - 1);
        }
        const NodeId fan = free_fans_.back();
        free_fans_.pop_back();
        fans_[static_cast<std::size_t>(fan)].assign(1, parent.child);
        parent.child = -2 - fan;
    }
    auto& fan = fans_[static_cast<std::size_t>(-2 - parent.child)];
    fan.insert(fan.begin() + static_cast<std::ptrdiff_t>(place), child);
}

void PrefixTree::remove_child(NodeId parent_id, NodeId child) {
    Node& parent = nodes_[parent_id];
    if (parent.child >= 0) {
        CHECK(parent.child == child);
        parent.child = kNone;
        return;
    }
    const NodeId fan_id = -2 - parent.child;
    auto& fan = fans_[static_cast<std::size_t>(fan_id)];
    const std::size_t place = lower_bound(parent, tokens_of(child));
    CHECK(place < fan.size() && fan[place] == child);
    fan.erase(fan.begin() + static_cast<std::ptrdiff_t>(place));
    if (fan.size() > 1) return;
    parent.child = fan.front();
    fan = {};
    free_fans_.push_back(fan_id);
}

PrefixTree::NodeId PrefixTree::root_of(const std::string& salt) {
    const auto [at, is_new] = roots_.try_emplace(salt, kNone);
    if (!is_new) return at->second;
    if (free_nodes_.empty()) {
        free_nodes_.push_back(nodes_.add());
        ids_.add();
    }
    at->second = free_nodes_.back();
    free_nodes_.pop_back();
    nodes_[at->second].hash = root_hash(model_fingerprint_, salt);
    salts_[at->second] = &at->first;
    return at->second;
}

PrefixTree::NodeId PrefixTree::whole_child(NodeId at, const PageHash& hash, Tokens tokens) const {
    const NodeId id = whole_pages_.find(hash, [this](NodeId n) { return nodes_[n].hash; });
    if (id == kNone || nodes_[id].parent != at) return kNone;
    return std::ranges::equal(tokens_of(id), tokens) ? id : kNone;
}

// False for a page whose bytes are not those that were stored; it is not found again until healed.
bool PrefixTree::is_sound(NodeId id) {
    Node& node = nodes_[id];
    if (node.is_corrupt) return false;
    if (!policy_.verify || page_checksum(node.page.data(), page_bytes_) == node.checksum) {
        return true;
    }
    tell(PageEvent::Kind::kRemoved, id);
    node.is_corrupt = true;
    ++pages_corrupt_;
    return false;
}

PrefixTree::Lease PrefixTree::match(const std::string& salt, Tokens tokens, const PrefixUse& use) {
    return find(salt, tokens, &use);
}

PrefixTree::Lease PrefixTree::peek(const std::string& salt, Tokens tokens) {
    return find(salt, tokens, nullptr);
}

PrefixTree::Lease PrefixTree::peek(const std::string& salt, std::span<const PageHash> names) {
    Lease lease;
    NodeId at = root_of(salt);
    for (const PageHash& name : names) {
        const NodeId id = whole_pages_.find(name, [this](NodeId n) { return nodes_[n].hash; });
        if (id == kNone || nodes_[id].parent != at || nodes_[id].is_corrupt) break;
        lease.pages_.push_back(nodes_[id].page.data());
        at = id;
    }
    lease.tree_ = this;
    lease.last_ = at;
    pin(at);
    return lease;
}

PrefixTree::Lease PrefixTree::find(const std::string& salt, Tokens tokens, const PrefixUse* use) {
    Lease lease;
    NodeId at = root_of(salt);
    std::size_t matched = 0;
    for (; matched + kPage <= tokens.size(); matched += kPage) {
        const Tokens next = tokens.subspan(matched, kPage);
        const NodeId child = whole_child(at, chain_(nodes_[at].hash, next), next);
        if (child == kNone) break;
        if (use != nullptr ? !is_sound(child) : nodes_[child].is_corrupt) {
            lease.was_corrupt_ = true;
            break;
        }
        if (use != nullptr) touch(child, *use);
        lease.pages_.push_back(nodes_[child].page.data());
        at = child;
    }
    lease.tree_ = this;
    lease.last_ = at;
    pin(at);
    find_tail(lease, tokens.subspan(matched, std::min(kPage, tokens.size() - matched)), use);
    return lease;
}

// The sibling that shares most with the rest stands right before or after the rest's place.
void PrefixTree::find_tail(Lease& lease, Tokens rest, const PrefixUse* use) {
    const auto children = children_of(nodes_[lease.last_]);
    const std::size_t after = lower_bound(nodes_[lease.last_], rest);
    NodeId tail = kNone;
    std::size_t shared = 0;
    const auto consider = [&](NodeId child) {
        // A whole page would have been found, but for a collision; then 63 of its tokens will do.
        const std::size_t n = std::min(common_prefix(tokens_of(child), rest), kPage - 1);
        if (n <= shared || nodes_[child].is_corrupt) return;
        tail = child;
        shared = n;
    };
    if (after < children.size()) consider(children[after]);
    if (after > 0) consider(children[after - 1]);
    if (tail == kNone) return;
    if (use != nullptr && !is_sound(tail)) {
        lease.was_corrupt_ = true;
        return;
    }
    if (use != nullptr) {
        // Who copies a tail does not share it: it stays its owner's to erase.
        PrefixUse copied = *use;
        copied.owner = nodes_[tail].owner;
        touch(tail, copied);
    }
    pin(tail);
    lease.tail_ = tail;
    lease.tail_tokens_ = static_cast<std::int64_t>(shared);
}

std::byte* PrefixTree::extend(Lease& lease, Tokens tokens, Page page, const PrefixUse& use,
                              std::optional<std::uint64_t> checksum) {
    CHECK(lease.tree_ == this && lease.tail_ == kNone && tokens.size() == kPage && page);
    const auto children = children_of(nodes_[lease.last_]);
    const std::size_t place = lower_bound(nodes_[lease.last_], tokens);
    NodeId id = kNone;
    if (place < children.size() && std::ranges::equal(tokens_of(children[place]), tokens)) {
        id = children[place];
        heal(id, page);
        touch(id, use);
    } else {
        id = insert(lease.last_, tokens, std::move(page), use, checksum);
    }
    Node& node = nodes_[id];
    if (node.pins++ == 0) ++pages_pinned_;  // The pages before it keep the lease's pin.
    list_leaf(id);
    lease.last_ = id;
    lease.pages_.push_back(node.page.data());
    return node.page.data();
}

void PrefixTree::store_tail(Lease& lease, Tokens tokens, Page page, const PrefixUse& use,
                            std::optional<std::uint64_t> checksum) {
    CHECK(lease.tree_ == this && !tokens.empty() && tokens.size() < kPage && page);
    const auto children = children_of(nodes_[lease.last_]);
    const std::size_t after = lower_bound(nodes_[lease.last_], tokens);
    const bool is_stored =
        after < children.size() && starts_with(tokens_of(children[after]), tokens);
    if (!is_stored) {
        insert(lease.last_, tokens, std::move(page), use, checksum);
        return;
    }
    const NodeId id = children[after];
    if (nodes_[id].tokens == tokens.size()) heal(id, page);
    touch(id, use);
}

// The same tokens were computed anew, and so the same bytes: whoever did goes on with ours.
void PrefixTree::heal(NodeId id, const Page& page) {
    Node& node = nodes_[id];
    if (is_sound(id)) return;
    std::memcpy(node.page.data(), page.data(), page_bytes_);
    node.checksum = page_checksum(node.page.data(), page_bytes_);
    node.is_corrupt = false;
    tell(PageEvent::Kind::kStored, id);
}

PrefixTree::NodeId PrefixTree::insert(NodeId parent, Tokens tokens, Page page, const PrefixUse& use,
                                      std::optional<std::uint64_t> checksum) {
    // At most one sibling is a prefix of the new page, and it stands right before its place. It is
    // superseded, unless someone is about to copy it.
    const std::size_t place = lower_bound(nodes_[parent], tokens);
    if (place > 0) {
        const NodeId before = children_of(nodes_[parent])[place - 1];
        if (starts_with(tokens, tokens_of(before)) && nodes_[before].pins == 0) remove(before);
    }
    if (free_nodes_.empty()) {
        free_nodes_.push_back(nodes_.add());
        ids_.add();
    }
    const NodeId id = free_nodes_.back();
    free_nodes_.pop_back();
    Node& node = nodes_[id];
    node.parent = parent;
    node.hash = chain_(nodes_[parent].hash, tokens);
    node.tokens = static_cast<std::uint8_t>(tokens.size());
    std::copy(tokens.begin(), tokens.end(), ids_[id].begin());
    node.page = std::move(page);
    node.checksum = checksum ? *checksum : page_checksum(node.page.data(), page_bytes_);
    node.owner = use.owner;
    ghosts_.cached_again(node.hash);
    if (tokens.size() == kPage) {
        whole_pages_.insert(id, [this](NodeId n) { return nodes_[n].hash; });
    }
    add_child(parent, id);
    ++pages_;
    touch(id, use);
    list_leaf(id);
    list_leaf(parent);
    tell(PageEvent::Kind::kStored, id);
    return id;
}

// Of a page that has gone bad nobody hears again until it is healed.
void PrefixTree::tell(PageEvent::Kind kind, NodeId id) const {
    const Node& node = nodes_[id];
    if (!observer_ || node.tokens < kPage || node.is_corrupt) return;
    PageEvent event;
    event.kind = kind;
    event.hash = node.hash;
    event.tokens = tokens_of(id);
    const Node& parent = nodes_[node.parent];
    if (parent.parent != kNone) {
        event.before = &parent.hash;
    } else if (kind == PageEvent::Kind::kStored) {
        event.salt = *salts_.at(node.parent);
    }
    observer_(event);
}

void PrefixTree::remove(NodeId id) {
    Node& node = nodes_[id];
    CHECK(node.child == kNone && node.pins == 0 && node.parent != kNone);
    const NodeId parent = node.parent;
    tell(PageEvent::Kind::kRemoved, id);
    if (node.is_leaf) leaves_.erase(leaf_of(id));
    remove_child(parent, id);
    const auto hash_of = [this](NodeId n) { return nodes_[n].hash; };
    if (whole_pages_.find(node.hash, hash_of) == id) whole_pages_.erase(id, hash_of);
    if (node.is_kept) --pages_kept_;
    --pages_;
    node = Node{};
    free_nodes_.push_back(id);
    list_leaf(parent);
    if (nodes_[parent].parent == kNone) drop_root_if_unused(parent);
}

void PrefixTree::drop_root_if_unused(NodeId root) {
    if (nodes_[root].child != kNone || nodes_[root].pins > 0) return;
    const auto salt = salts_.find(root);
    CHECK(salt != salts_.end());
    roots_.erase(roots_.find(*salt->second));
    salts_.erase(salt);
    nodes_[root] = Node{};
    free_nodes_.push_back(root);
}

KnownPrefix PrefixTree::known(const std::string& salt, Tokens tokens) const {
    KnownPrefix out;
    PageHash hash = root(salt);
    std::size_t known = 0;
    for (; known + kPage <= tokens.size(); known += kPage) {
        hash = chain_(hash, tokens.subspan(known, kPage));
        if (whole_pages_.find(hash, [this](NodeId n) { return nodes_[n].hash; }) != kNone) continue;
        const PageFate fate = ghosts_.fate(hash);
        if (fate == PageFate::kUnknown) break;
        if (out.fate == PageFate::kUnknown) out.fate = fate;
    }
    out.tokens = static_cast<std::int64_t>(known);
    return out;
}

}  // namespace hearth
