// HttpTransport: frames as bodies of HTTP/1.1 requests and answers, on the nodes' own port.
#pragma once

#include <memory>
#include <string>

#include "cachenode/transfer/transport.h"
#include "common/base/clock.h"
#include "common/net/http_client.h"

namespace hearth {

// Internal paths and fields; routers never forward either.
constexpr std::string_view kPeerSessions = "/internal/v1/kv/sessions/";  // + 32 hex digits.
constexpr std::string_view kPeerPages = "/internal/v1/kv/pages/";        // The same; POST.
constexpr std::string_view kPeerKept = "/internal/v1/responses/";        // GET and POST.
constexpr std::string_view kKeptHeader = "hearth-kept";  // KeptTexts::Batch::last, or `after`.
constexpr std::size_t kKeptBytesMax = 16 << 20;          // Of the body of either.
constexpr std::string_view kFormatHeader = "hearth-kv-format";  // wire_format() of the asker.
constexpr std::string_view kOwnerHeader = "hearth-kv-owner";    // "1": take the session over.
constexpr std::string_view kStoredHeader = "hearth-kv-stored";  // PushAnswer, in a 200 ...
constexpr std::string_view kPagesHeader = "hearth-kv-pages";    // ... and in a 409.

// Bytes of a session's frames, in pieces that are worth a write each. Views live until the next
// call, and no longer than the session.
class FrameWriter {
  public:
    explicit FrameWriter(const HeldSession& held, std::size_t page_bytes);
    std::uint64_t bytes() const;  // Of all pieces together.
    std::string_view next();      // Empty at the end.

  private:
    const HeldSession& held_;
    std::size_t page_bytes_;
    std::size_t page_;
    std::string buffer_;
    std::string_view whole_page_;  // Goes out as it lies in the pool.
    enum class Part { kSession, kPages, kDone } part_ = Part::kSession;
};

// The body of a pull by names: 16 bytes each.
constexpr std::size_t kNamesBytesMax = 1 << 20;
std::string names_body(const std::vector<PageHash>& names);
std::vector<PageHash> names_in(
    std::string_view body);  // Bytes behind the last whole one: left out.

struct PeerCredentials {
    std::string secret;  // Of the fleet; empty: only peers on this machine are spoken to.
    std::string format;  // wire_format()
};

// One io_context; `client` outlives it.
class HttpTransport final : public Transport {
  public:
    HttpTransport(HttpClient& client, PeerCredentials credentials, std::size_t page_bytes,
                  const Clock& clock)
        : client_(client),
          credentials_(std::move(credentials)),
          page_bytes_(page_bytes),
          clock_(clock) {}

    Task<Result<void>> pull(std::string peer, PullQuestion question, FrameSink& sink,
                            std::chrono::milliseconds timeout) override;
    Task<Result<PushAnswer>> push(std::string peer, const HeldSession& held, bool owner,
                                  std::chrono::milliseconds timeout) override;
    Task<Result<KeptTexts::Batch>> pull_kept(Keeper from, std::uint64_t after,
                                             std::chrono::milliseconds timeout) override;
    Task<Result<void>> push_kept(Keeper to, std::string text,
                                 std::chrono::milliseconds timeout) override;

  private:
    Result<HeaderList> kept_fields(const Keeper& other) const;
    Task<Result<std::unique_ptr<ClientExchange>>> open(std::string peer);
    std::vector<HeaderField> fields() const;
    std::chrono::milliseconds left(MonotonicNs deadline) const;

    HttpClient& client_;
    PeerCredentials credentials_;
    std::size_t page_bytes_;
    const Clock& clock_;
};

}  // namespace hearth
