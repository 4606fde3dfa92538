// Batches: one job for the scheduler's thread per some MiB.
#include "cachenode/transfer/arrival.h"

#include <iterator>

namespace hearth {
namespace {

constexpr std::size_t kBatchBytes = 8 << 20;

}  // namespace

Task<Result<void>> Arrival::begin() {
    const WireSession& session = reader_.sessions().front();
    if (session.key != key_ || (salt_ && session.salt != *salt_))
        co_return make_error(ErrorCode::kCorrupt, "the peer sent another session");
    import_ = co_await gate_.begin(session);
    if (import_ == nullptr)
        co_return make_error(ErrorCode::kExhausted, "no room for the peer's pages");
    pages_here_ = import_->pages_here();
    if (pages_here_ < session.first_page)
        co_return make_error(ErrorCode::kNotFound, "pages before the first one are missing here");
    reader_.use_room([this] { return blank(); });
    co_return Result<void>();
}

// Nothing when they have run out: the page is copied then.
std::shared_ptr<std::byte[]> Arrival::blank() {
    const std::vector<std::byte*>& blanks = import_->blanks();
    while (next_blank_ < blanks.size()) {
        std::byte* const bytes = blanks[next_blank_++];
        if (bytes == open_blank_) continue;
        open_blank_ = bytes;
        return std::shared_ptr<std::byte[]>(import_, bytes);
    }
    return nullptr;
}

Task<Result<void>> Arrival::arrived() {
    if (import_ == nullptr && session() != nullptr) {
        const Result<void> begun = co_await begin();
        if (!begun) co_return begun.error();
    }
    std::vector<WirePage> pages = reader_.take_pages();
    if (pages.empty()) co_return Result<void>();
    if (import_ == nullptr)
        co_return make_error(ErrorCode::kCorrupt, "pages came before their session");
    bytes_ += static_cast<std::int64_t>(pages.size() * gate_.page_bytes());
    if (!is_full_)
        batch_.insert(batch_.end(), std::make_move_iterator(pages.begin()),
                      std::make_move_iterator(pages.end()));
    if (batch_.size() * gate_.page_bytes() >= kBatchBytes) co_return co_await flush();
    co_return Result<void>();
}

Task<Result<void>> Arrival::flush() {
    if (batch_.empty()) co_return Result<void>();
    std::vector<WirePage> batch = std::exchange(batch_, {});
    is_full_ = !co_await gate_.take(import_, std::move(batch));
    next_blank_ = 0;
    co_return Result<void>();
}

Task<Result<std::int64_t>> Arrival::finish() {
    if (!reader_.at_end() || import_ == nullptr)
        co_return make_error(ErrorCode::kCorrupt, "the peer's frames ended early");
    const Result<void> flushed = co_await flush();
    if (!flushed) co_return flushed.error();
    co_return co_await gate_.finish(import_);
}

}  // namespace hearth
