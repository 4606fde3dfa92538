// RequestBody: a text that grows with what has come, never with what was only announced.
#include "cachenode/api/request_body.h"

#include <algorithm>
#include <cstdint>

namespace hearth {
namespace {

constexpr std::size_t kFirstBytes = 16 * 1024;

}  // namespace

Task<Result<void>> RequestBody::read(ServerExchange& exchange, std::size_t limit) {
    const RequestHead& head = exchange.head();
    const bool sized = head.body == BodyKind::kLength;
    const auto too_large = make_error(ErrorCode::kTooLarge, "the body is too large");
    if (sized && head.content_length > limit) co_return too_large;
    // One byte more than may come, to see the end, or that there is more.
    const std::size_t most = (sized ? static_cast<std::size_t>(head.content_length) : limit) + 1;
    while (true) {
        if (size_ == text_.size()) {
            const std::size_t room = std::min(std::max(kFirstBytes, 2 * size_), most);
            if (!budget_.take(room - text_.size()))
                co_return make_error(ErrorCode::kExhausted, "no memory for another body");
            text_.resize(room);
        }
        const asio::mutable_buffer target(text_.data() + size_, text_.size() - size_);
        const Result<std::size_t> n = co_await exchange.read_body_some(target);
        if (!n.ok()) co_return n.error();
        if (*n == 0) co_return Result<void>{};
        size_ += *n;
        if (size_ > limit) co_return too_large;
    }
}

}  // namespace hearth
