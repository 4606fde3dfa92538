// Pull is read-only; a push is in place only when all of it was verified.
#include "cachenode/transfer/peer_api.h"

#include <cstdlib>
#include <optional>
#include <utility>

#include "cachenode/transfer/arrival.h"
#include "common/wire/fleet_secret.h"
#include "common/wire/headers.h"

namespace hearth {
namespace {

int status_of(const Error& error) {
    switch (error.code) {
        case ErrorCode::kCorrupt:
        case ErrorCode::kTooLarge: return 422;
        case ErrorCode::kExhausted: return 507;
        case ErrorCode::kNotFound: return 409;
        default: return 500;
    }
}

Task<void> answer(ServerExchange& exchange, int status, HeaderList fields, std::string text) {
    fields.emplace_back("content-type", "application/json");
    (void)co_await exchange.respond(status, std::move(fields), text);
}

Task<void> refuse(ServerExchange& exchange, int status, std::string code) {
    std::string text = error_body("Refused between nodes: " + code, "peer_error", "", code);
    HeaderList fields;
    co_await answer(exchange, status, std::move(fields), std::move(text));
}

}  // namespace

bool PeerApi::owns(std::string_view path) {
    return path.starts_with("/internal/");
}

bool PeerApi::trusts(const ServerExchange& exchange) const {
    const std::string_view shown = exchange.head().find(kFleetSecretHeader);
    if (credentials_.secret.empty()) return is_loopback(exchange.remote_address());
    return same_secret(shown, credentials_.secret);
}

Task<void> PeerApi::serve(ServerExchange& exchange, bool takes_sessions) {
    const RequestHead& head = exchange.head();
    const std::string_view path = head.path;
    std::string_view what;
    for (const std::string_view each : {kPeerSessions, kPeerPages, kPeerSession, kPeerKept})
        if (path.starts_with(each)) what = each;
    const auto key = SessionKey::from_hex(what.empty() ? what : path.substr(what.size()));
    const bool is_get = head.method == "GET", is_post = head.method == "POST";
    if (!trusts(exchange)) {
        co_await refuse(exchange, 403, "not_of_this_fleet");
    } else if (!key) {
        co_await refuse(exchange, 404, "unknown_url");
    } else if (what == kPeerSession && head.method == "DELETE") {
        co_await erase_session(exchange, *key);
    } else if (what == kPeerSession && is_get) {
        co_await tell_turns(exchange, *key);
    } else if (what == kPeerSession || (what == kPeerPages && !is_post) || (!is_get && !is_post)) {
        co_await refuse(exchange, 405, "method_not_allowed");
    } else if (what == kPeerKept && is_get) {
        co_await send_kept(exchange, *key);
    } else if (what == kPeerKept && takes_sessions) {
        co_await accept_kept(exchange, *key);
    } else if (what == kPeerKept) {
        co_await refuse(exchange, 503, "draining");
    } else if (head.find(kFormatHeader) != credentials_.format) {
        co_await refuse(exchange, 409, "other_format");
    } else if (what == kPeerPages) {
        co_await send_pages(exchange, *key);
    } else if (is_get) {
        co_await send_session(exchange, *key);
    } else if (!takes_sessions) {
        co_await refuse(exchange, 503, "draining");
    } else {
        co_await accept_session(exchange, *key);
    }
}

Task<void> PeerApi::send_session(ServerExchange& exchange, SessionKey key) {
    std::string salt(exchange.head().find(header::kTenant));
    auto held = co_await parts_.gate->hold(key, std::move(salt));
    co_await send(exchange, std::move(held));
}

namespace {

// Not much more than `limit` bytes; nothing if the connection failed.
Task<std::optional<std::string>> read_body(ServerExchange& exchange, std::size_t limit) {
    std::string body;
    while (body.size() <= limit) {
        char piece[4'096];
        const Result<std::size_t> bytes = co_await exchange.read_body_some(asio::buffer(piece));
        if (!bytes) co_return std::nullopt;
        if (*bytes == 0) break;
        body.append(piece, *bytes);
    }
    co_return body;
}

}  // namespace

Task<void> PeerApi::send_kept(ServerExchange& exchange, SessionKey key) {
    const std::string salt(exchange.head().find(header::kTenant));
    const std::string after(exchange.head().find(kKeptHeader));
    KeptTexts::Batch batch;
    if (kept_.newer) batch = kept_.newer(key, salt, std::strtoull(after.c_str(), nullptr, 10));
    if (batch.text.empty()) {
        co_await refuse(exchange, 404, "not_held");
        co_return;
    }
    HeaderList fields{{std::string(kKeptHeader), std::to_string(batch.last)}};
    co_await answer(exchange, 200, std::move(fields), std::move(batch.text));
}

Task<void> PeerApi::accept_kept(ServerExchange& exchange, SessionKey key) {
    const auto body = co_await read_body(exchange, kKeptBytesMax);
    if (!body) co_return;
    const std::string salt(exchange.head().find(header::kTenant));
    const bool is_small = body->size() <= kKeptBytesMax;
    if (!is_small || !kept_.take || !kept_.take(key, salt, *body)) {
        co_await refuse(exchange, is_small ? 422 : 413, "unreadable");
        co_return;
    }
    HeaderList fields;
    co_await answer(exchange, 200, std::move(fields), "{}");
}

Task<void> PeerApi::send_pages(ServerExchange& exchange, SessionKey key) {
    const auto read = co_await read_body(exchange, kNamesBytesMax);
    if (!read) co_return;
    const std::string& body = *read;
    if (body.size() > kNamesBytesMax) {
        co_await refuse(exchange, 413, "too_many_names");
        co_return;
    }
    std::string salt(exchange.head().find(header::kTenant));
    auto held = co_await parts_.gate->hold_pages(key, std::move(salt), names_in(body));
    co_await send(exchange, std::move(held));
}

Task<void> PeerApi::send(ServerExchange& exchange, std::shared_ptr<HeldSession> held) {
    if (held == nullptr) {
        parts_.metrics->done(TransferKind::kServed, make_error(ErrorCode::kNotFound, ""));
        co_await refuse(exchange, 404, "not_held");
        co_return;
    }
    if (parts_.publisher) held->session.epoch = parts_.publisher->epoch(held->session.key);
    FrameWriter frames(*held, parts_.gate->page_bytes());
    HeaderList fields{{"content-type", "application/octet-stream"}};
    Result<void> sent = co_await exchange.start_stream(200, std::move(fields), frames.bytes());
    for (std::string_view piece = frames.next(); sent && !piece.empty(); piece = frames.next())
        sent = co_await exchange.write(piece);
    if (sent) sent = co_await exchange.finish_stream();
    parts_.metrics->done(TransferKind::kServed, sent);
    if (sent)
        parts_.metrics->sent(
            static_cast<std::int64_t>(held->pages.size() * parts_.gate->page_bytes()));
}

Task<void> PeerApi::accept_session(ServerExchange& exchange, SessionKey key) {
    Arrival arrival(*parts_.gate, key, std::nullopt);
    Result<void> read;
    std::string gathered(kDirectBytes, '\0');
    while (read) {
        const std::span<std::byte> into = arrival.reader().wanted();
        const bool direct = into.size() >= kDirectBytes;
        const asio::mutable_buffer buffer =
            direct ? asio::mutable_buffer(into.data(), into.size()) : asio::buffer(gathered);
        const Result<std::size_t> bytes = co_await exchange.read_body_some(buffer);
        if (!bytes) read = bytes.error();
        if (!bytes || *bytes == 0) break;
        read = direct ? arrival.reader().advance(*bytes)
                      : arrival.reader().feed(std::string_view(gathered).substr(0, *bytes));
        if (read) read = co_await arrival.arrived();
    }
    Result<std::int64_t> stored = std::int64_t{0};
    if (read) stored = co_await arrival.finish();
    if (!stored) read = stored.error();
    parts_.metrics->received(arrival.bytes());
    parts_.metrics->done(TransferKind::kAccepted, read);
    HeaderList fields;
    if (read) {
        const bool owner = exchange.head().find(kOwnerHeader) == "1";
        adopted(*arrival.session(), *stored, owner);
        fields.emplace_back(kStoredHeader, std::to_string(*stored));
        co_await answer(exchange, 200, std::move(fields), "{}");
        co_return;
    }
    const int status = status_of(read.error());
    if (status == 409) {
        fields.emplace_back(kPagesHeader, std::to_string(arrival.pages_here()));
        co_await answer(exchange, status, std::move(fields), "{}");
    } else if (read.error().code != ErrorCode::kCancelled) {
        co_await refuse(exchange, status, hearth::to_string(read.error().code));
    }
}

// We come after its owner: by the owner's word, or once turns come here because it is gone.
void PeerApi::adopted(const WireSession& session, std::int64_t stored, bool owner) {
    if (!parts_.publisher) return;
    parts_.publisher->holds(session.key, session.epoch + 1, stored);
    if (owner) parts_.publisher->session_changed(session.key, stored, session.turn);
}

Task<void> PeerApi::tell_turns(ServerExchange& exchange, SessionKey key) {
    std::string text = co_await parts_.gate->turns(key);
    HeaderList fields;
    co_await answer(exchange, 200, std::move(fields), std::move(text));
}

Task<void> PeerApi::erase_session(ServerExchange& exchange, SessionKey key) {
    const ErasedSession gone = co_await parts_.gate->erase(key);
    if (erased_) erased_(key);
    if (parts_.publisher) parts_.publisher->forget(key);
    std::string text = "{\"bytes\":" + std::to_string(gone.bytes) +
                       ",\"pages\":" + std::to_string(gone.pages) +
                       ",\"known\":" + (gone.salts > 0 ? "true" : "false") + "}";
    HeaderList fields;
    co_await answer(exchange, 200, std::move(fields), std::move(text));
}

}  // namespace hearth
