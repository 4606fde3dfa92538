// Promises are counted against what is free or can be made free.
#include "cachenode/kv/device_tier.h"

#include "common/base/check.h"

namespace hearth {
namespace {

constexpr std::int64_t kGhostsPerPage = 2;  // 8 bytes each.
constexpr std::int64_t kKeptShare = 4;

PrefixTreePolicy with_limit(PrefixTreePolicy policy, std::int64_t pages) {
    if (policy.kept_pages_max == 0) policy.kept_pages_max = pages / kKeptShare;
    return policy;
}

}  // namespace

DeviceTier::DeviceTier(std::size_t page_bytes, std::int64_t bytes_max,
                       std::uint64_t model_fingerprint, PrefixTreePolicy policy)
    : pool_(page_bytes, bytes_max),
      tree_(model_fingerprint, page_bytes,
            static_cast<std::size_t>(kGhostsPerPage * pool_.pages_total()), chain_hash,
            with_limit(policy, pool_.pages_total())) {}

bool DeviceTier::promise(std::int64_t pages) {
    CHECK(pages >= 0);
    if (pages > pages_available()) return false;
    pages_promised_ += pages;
    return true;
}

void DeviceTier::take_back_promise(std::int64_t pages) {
    CHECK(pages >= 0 && pages <= pages_promised_);
    pages_promised_ -= pages;
}

Page DeviceTier::acquire() {
    take_back_promise(1);
    if (Page page = pool_.acquire()) return page;
    tree_.evict(1);
    Page page = pool_.acquire();
    CHECK_MSG(page, "a promised KV page is not there");
    return page;
}

}  // namespace hearth
