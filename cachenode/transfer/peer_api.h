// PeerApi: what other nodes of the fleet may ask of this one, on its own port.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cachenode/publish/publisher.h"
#include "cachenode/transfer/http_transport.h"
#include "cachenode/transfer/kv_gate.h"
#include "cachenode/transfer/transfer_metrics.h"
#include "common/net/http_server.h"

namespace hearth {

struct PeerApiParts {
    std::shared_ptr<KvGate> gate;
    std::shared_ptr<Publisher> publisher;  // Null: nothing is published.
    std::shared_ptr<TransferMetrics> metrics;
};

// One io_context's thread. Serves only who shows the fleet's secret; while none is set, only peers
// on this machine.
class PeerApi {
  public:
    PeerApi(PeerCredentials credentials, PeerApiParts parts)
        : credentials_(std::move(credentials)), parts_(std::move(parts)) {}

    static bool owns(std::string_view path);
    // `takes_sessions`: pushes are accepted; a draining node's are not.
    Task<void> serve(ServerExchange& exchange, bool takes_sessions);

    // Told of each session that is erased, for what is kept of it elsewhere.
    void on_erase(std::function<void(const SessionKey&)> told) { erased_ = std::move(told); }
    void on_kept(KeptTexts kept) { kept_ = std::move(kept); }

  private:
    bool trusts(const ServerExchange& exchange) const;
    Task<void> send_session(ServerExchange& exchange, SessionKey key);
    Task<void> send_pages(ServerExchange& exchange, SessionKey key);
    Task<void> send(ServerExchange& exchange, std::shared_ptr<HeldSession> held);
    Task<void> accept_session(ServerExchange& exchange, SessionKey key);
    Task<void> tell_turns(ServerExchange& exchange, SessionKey key);
    Task<void> erase_session(ServerExchange& exchange, SessionKey key);
    Task<void> send_kept(ServerExchange& exchange, SessionKey key);
    Task<void> accept_kept(ServerExchange& exchange, SessionKey key);
    void adopted(const WireSession& session, std::int64_t stored, bool owner);

    PeerCredentials credentials_;
    PeerApiParts parts_;
    std::function<void(const SessionKey&)> erased_;
    KeptTexts kept_;
};

}  // namespace hearth
