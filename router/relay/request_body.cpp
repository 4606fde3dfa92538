// Reads a body piece by piece into the kept text while there is room, else into a scratch buffer.
#include "router/relay/request_body.h"

#include <algorithm>

namespace hearth {
namespace {

constexpr std::size_t kPieceBytes = 64 * 1024;

}  // namespace

std::size_t RequestBody::next_size() const {
    const RequestHead& head = exchange_.head();
    if (head.body != BodyKind::kLength) return kPieceBytes;
    const std::uint64_t left = head.content_length - read_bytes_;
    return static_cast<std::size_t>(std::clamp<std::uint64_t>(left, 1, kPieceBytes));
}

void RequestBody::forget() {
    core_.kept_bytes -= kept_.size();
    kept_ = {};
    keeping_ = false;
}

void RequestBody::take_whole() {
    if (ended_ || read_bytes_ > 0) return;
    ended_ = exchange_.head().body == BodyKind::kNone;
    if (ended_) return;
    whole_ = exchange_.take_body();
    read_bytes_ = whole_.size();
    ended_ = !whole_.empty();
}

Task<Result<std::string_view>> RequestBody::read(bool must_keep) {
    if (ended_) co_return std::string_view{};
    take_whole();
    if (ended_) co_return whole_;
    const std::size_t piece = next_size();
    if (keeping_) {
        const std::size_t bound = must_keep ? kKeptBytesMax : kReplayBytesMax;
        const bool room =
            kept_.size() + piece <= bound && core_.kept_bytes + piece <= kKeptBytesMax;
        if (!room && must_keep)
            co_return make_error(ErrorCode::kExhausted,
                                 "the router holds too many request bodies; try again");
        if (!room) forget();
    }
    std::string& target = keeping_ ? kept_ : scratch_;
    const std::size_t before = keeping_ ? kept_.size() : 0;
    target.resize(before + piece);
    if (keeping_) core_.kept_bytes += piece;
    const asio::mutable_buffer room(target.data() + before, piece);
    Result<std::size_t> n = co_await exchange_.read_body_some(room);
    const std::size_t got = n.ok() ? *n : 0;
    target.resize(before + got);
    if (keeping_) core_.kept_bytes -= piece - got;
    if (!n) co_return n.error();
    read_bytes_ += got;
    ended_ = got == 0;
    const auto limit = static_cast<std::size_t>(core_.config->body_bytes_max);
    if (read_bytes_ > limit)
        co_return make_error(ErrorCode::kTooLarge,
                             "the request body is larger than " + std::to_string(limit) + " bytes");
    const RequestHead& head = exchange_.head();
    if (head.body == BodyKind::kLength && read_bytes_ == head.content_length) ended_ = true;
    co_return std::string_view(target.data() + before, got);
}

}  // namespace hearth
