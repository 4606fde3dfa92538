// GET to pull, POST to push. Every wait is bounded by what is left of the transfer's time.
#include "cachenode/transfer/http_transport.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "common/wire/fleet_secret.h"
#include "common/wire/headers.h"

namespace hearth {
namespace {

constexpr std::size_t kPieceBytes = 256 << 10;  // Smaller pages are gathered up to it.

std::int64_t number_in(std::string_view text) {
    std::int64_t value = -1;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    return read.ec == std::errc{} && read.ptr == text.data() + text.size() ? value : -1;
}

Error refused(int status) {
    const std::string text = "the peer answered " + std::to_string(status);
    if (status == 404) return make_error(ErrorCode::kNotFound, text);
    if (status == 422) return make_error(ErrorCode::kCorrupt, text);
    if (status == 503 || status == 507) return make_error(ErrorCode::kExhausted, text);
    return make_error(ErrorCode::kUnsupported, text);
}

Error no_secret() {
    return make_error(ErrorCode::kUnsupported,
                      "fleet_secret: is required to speak to nodes on other machines");
}

}  // namespace

FrameWriter::FrameWriter(const HeldSession& held, std::size_t page_bytes)
    : held_(held),
      page_bytes_(page_bytes),
      page_(static_cast<std::size_t>(held.session.first_page)) {}

std::uint64_t FrameWriter::bytes() const {
    std::uint64_t bytes = session_frame(held_.session).size() + end_frame(0).size();
    for (std::size_t i = page_; i < held_.pages.size(); ++i)
        bytes += page_frame_head(held_.pages[i]).size() + page_bytes_;
    return bytes;
}

std::string_view FrameWriter::next() {
    if (!whole_page_.empty()) return std::exchange(whole_page_, {});
    buffer_.clear();
    if (part_ == Part::kSession) {
        buffer_ = session_frame(held_.session);
        part_ = Part::kPages;
    }
    const auto first = static_cast<std::size_t>(held_.session.first_page);
    while (part_ == Part::kPages && buffer_.size() < kPieceBytes) {
        if (page_ >= held_.pages.size()) {
            const std::size_t sent = held_.pages.size() - std::min(first, held_.pages.size());
            buffer_ += end_frame(static_cast<std::uint32_t>(sent));
            part_ = Part::kDone;
            break;
        }
        const CachedPage& page = held_.pages[page_++];
        buffer_ += page_frame_head(page);
        const std::string_view bytes(reinterpret_cast<const char*>(page.bytes), page_bytes_);
        if (page_bytes_ >= kPieceBytes / 4) {
            whole_page_ = bytes;
            break;
        }
        buffer_ += bytes;
    }
    return buffer_;
}

std::string names_body(const std::vector<PageHash>& names) {
    const std::size_t count = std::min(names.size(), kNamesBytesMax / sizeof(PageHash));
    return {reinterpret_cast<const char*>(names.data()), count * sizeof(PageHash)};
}

std::vector<PageHash> names_in(std::string_view body) {
    std::vector<PageHash> names(body.size() / sizeof(PageHash));
    std::memcpy(names.data(), body.data(), names.size() * sizeof(PageHash));
    return names;
}

std::vector<HeaderField> HttpTransport::fields() const {
    std::vector<HeaderField> out{{kFormatHeader, credentials_.format}};
    if (!credentials_.secret.empty()) out.push_back({kFleetSecretHeader, credentials_.secret});
    return out;
}

std::chrono::milliseconds HttpTransport::left(MonotonicNs deadline) const {
    return std::chrono::milliseconds(std::max<std::int64_t>(0, deadline - clock_.now()) / kMs + 1);
}

Task<Result<std::unique_ptr<ClientExchange>>> HttpTransport::open(std::string peer) {
    if (credentials_.secret.empty() && !is_loopback(peer)) co_return no_secret();
    co_return co_await client_.open(peer);
}

Task<Result<void>> HttpTransport::pull(std::string peer, PullQuestion question, FrameSink& sink,
                                       std::chrono::milliseconds timeout) {
    const MonotonicNs deadline = clock_.now() + timeout.count() * kMs;
    auto opened = co_await open(peer);
    if (!opened) co_return opened.error();
    ClientExchange& exchange = **opened;
    const bool by_names = !question.names.empty();
    const std::string target =
        std::string(by_names ? kPeerPages : kPeerSessions) + question.key.hex();
    const std::string names = names_body(question.names);
    ClientExchange::RequestOptions options;
    options.target = target;
    options.host = peer;
    if (by_names) {
        options.method = "POST";
        options.body = BodyKind::kLength;
        options.content_length = names.size();
    }
    std::vector<HeaderField> asked = fields();
    if (!question.salt.empty()) asked.push_back({header::kTenant, question.salt});
    Result<void> sent = co_await exchange.send_head(options, asked);
    if (sent && by_names) sent = co_await exchange.write_body(names);
    if (sent && by_names) sent = co_await exchange.finish_body();
    if (!sent) co_return sent.error();
    const auto head = co_await exchange.read_head(left(deadline));
    if (!head) co_return head.error();
    if ((*head)->status != 200) co_return refused((*head)->status);
    while (true) {
        if (clock_.now() >= deadline)
            co_return make_error(ErrorCode::kTimeout, "the peer sends too slowly");
        const std::span<std::byte> into = sink.reader().wanted();
        if (into.size() >= kDirectBytes) {
            const asio::mutable_buffer room(into.data(), into.size());
            const auto bytes = co_await exchange.read_body_into(room, left(deadline));
            if (!bytes) co_return bytes.error();
            if (*bytes == 0) break;
            if (auto fed = sink.reader().advance(*bytes); !fed) co_return fed.error();
        } else {
            const auto bytes = co_await exchange.read_body_some(left(deadline));
            if (!bytes) co_return bytes.error();
            if (bytes->empty()) break;
            if (auto fed = sink.reader().feed(*bytes); !fed) co_return fed.error();
        }
        const Result<void> taken = co_await sink.arrived();
        if (!taken) co_return taken.error();
    }
    if (!sink.reader().at_end())
        co_return make_error(ErrorCode::kCorrupt, "the peer's answer ended early");
    co_return Result<void>();
}

Task<Result<PushAnswer>> HttpTransport::push(std::string peer, const HeldSession& held, bool owner,
                                             std::chrono::milliseconds timeout) {
    const MonotonicNs deadline = clock_.now() + timeout.count() * kMs;
    auto opened = co_await open(peer);
    if (!opened) co_return opened.error();
    ClientExchange& exchange = **opened;
    FrameWriter frames(held, page_bytes_);
    const std::string target = std::string(kPeerSessions) + held.session.key.hex();
    ClientExchange::RequestOptions options;
    options.method = "POST";
    options.target = target;
    options.host = peer;
    options.body = BodyKind::kLength;
    options.content_length = frames.bytes();
    std::vector<HeaderField> said = fields();
    if (owner) said.push_back({kOwnerHeader, "1"});
    Result<void> sent = co_await exchange.send_head(options, said);
    for (std::string_view piece = frames.next(); sent && !piece.empty(); piece = frames.next()) {
        if (clock_.now() >= deadline)
            co_return make_error(ErrorCode::kTimeout, "the peer takes too slowly");
        sent = co_await exchange.write_body(piece);
    }
    if (sent) sent = co_await exchange.finish_body();
    // A peer that refuses answers before it has read everything: its answer says more.
    const auto head = co_await exchange.read_head(left(deadline));
    if (!head) co_return sent ? head.error() : sent.error();
    const ResponseHead& answer = **head;
    PushAnswer out;
    out.has_gap = answer.status == 409 && !answer.find(kPagesHeader).empty();
    if (out.has_gap) out.pages = number_in(answer.find(kPagesHeader));
    if (!out.has_gap && answer.status != 200) co_return refused(answer.status);
    if (!out.has_gap) out.stored = number_in(answer.find(kStoredHeader));
    if (out.stored < 0 || out.pages < 0)
        co_return make_error(ErrorCode::kCorrupt, "the peer's answer has no number");
    while (true) {  // So that the connection can be used again.
        const auto rest = co_await exchange.read_body_some(left(deadline));
        if (!rest || rest->empty()) break;
    }
    co_return out;
}

Result<HeaderList> HttpTransport::kept_fields(const Keeper& other) const {
    if (credentials_.secret.empty() && !is_loopback(other.peer)) return no_secret();
    HeaderList out;
    if (!credentials_.secret.empty()) out.emplace_back(kFleetSecretHeader, credentials_.secret);
    if (!other.salt.empty()) out.emplace_back(header::kTenant, other.salt);
    return out;
}

Task<Result<KeptTexts::Batch>> HttpTransport::pull_kept(Keeper from, std::uint64_t after,
                                                        std::chrono::milliseconds timeout) {
    Result<HeaderList> said = kept_fields(from);
    if (!said) co_return said.error();
    said->emplace_back(kKeptHeader, std::to_string(after));
    const std::string target = std::string(kPeerKept) + from.key.hex();
    auto answer = co_await client_.call(from.peer, "GET", target, *said, {}, timeout);
    if (!answer) co_return answer.error();
    if (answer->status != 200) co_return refused(answer->status);
    KeptTexts::Batch out{std::move(answer->body), 0};
    std::int64_t last = -1;
    for (const auto& [name, value] : answer->headers)
        if (equals_ignore_case(name, kKeptHeader)) last = number_in(value);
    if (last < 0) co_return make_error(ErrorCode::kCorrupt, "the peer's answer has no number");
    out.last = static_cast<std::uint64_t>(last);
    co_return out;
}

Task<Result<void>> HttpTransport::push_kept(Keeper to, std::string text,
                                            std::chrono::milliseconds timeout) {
    const Result<HeaderList> said = kept_fields(to);
    if (!said) co_return said.error();
    const std::string target = std::string(kPeerKept) + to.key.hex();
    const auto answer = co_await client_.call(to.peer, "POST", target, *said, text, timeout);
    if (!answer) co_return answer.error();
    if (answer->status != 200) co_return refused(answer->status);
    co_return Result<void>();
}

}  // namespace hearth
