// MetadataStore: hints that nodes publish and routers read; Redis in a fleet, memory in one
// process.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/net/asio.h"
#include "common/wire/records.h"
#include "common/wire/session_key.h"

namespace hearth {

// Every call returns within its deadline (kTimeout) whatever the store does; the request path never
// depends on it. The Redis store belongs to one io_context; the memory store to any thread.
class MetadataStore {
  public:
    virtual ~MetadataStore() = default;

    // Keys under hearth:{cluster}: node:<id>, nodes (index set), drains (hash), memory (text),
    // session:<key>, events (design §9).
    virtual Task<Result<void>> publish_node(const NodeRecord& record,
                                            std::chrono::milliseconds ttl) = 0;
    virtual Task<Result<void>> remove_node(const std::string& node_id,
                                           const std::string& generation) = 0;
    virtual Task<Result<std::vector<NodeRecord>>> nodes() = 0;  // Live ones; order unspecified.

    virtual Task<Result<void>> publish_session(const SessionKey& key, const SessionRecord& record,
                                               std::chrono::milliseconds ttl) = 0;
    virtual Task<Result<std::optional<SessionRecord>>> find_session(const SessionKey& key) = 0;
    // Find and publish in one atomic step, for routers that race: `record` becomes the session's if
    // there is none or one of a lower epoch; its from_tokens become what from_node has published,
    // if it has. Gives the one that stands then.
    virtual Task<Result<SessionRecord>> claim_session(const SessionKey& key,
                                                      const SessionRecord& record,
                                                      std::chrono::milliseconds ttl) = 0;
    // An operator's wish, empty = no more; no other call changes it. Lives `ttl` at least, and goes
    // with the session's record. A record that is nothing but a pin has no node id and epoch 0.
    virtual Task<Result<void>> pin_session(const SessionKey& key, const std::string& node_id,
                                           std::chrono::milliseconds ttl) = 0;
    virtual Task<Result<void>> erase_session(const SessionKey& key) = 0;

    // An operator's last word on each node: a wish that no node's own record changes, without end.
    // True = drained; undrained nodes stay listed, so that a store that lost its memory differs
    // from one that was told.
    virtual Task<Result<void>> set_drained(const std::string& node_id, bool drained) = 0;
    virtual Task<Result<std::map<std::string, bool>>> drains() = 0;

    // Names the store's memory; `candidate` if nobody has named it. Another name than before: it
    // has forgotten everything that it was told (flushed, or back without its data).
    virtual Task<Result<std::string>> memory_name(const std::string& candidate) = 0;

    // A capped stream of joins, leaves, drains, moves: kind, subject, detail.
    virtual Task<Result<void>> append_event(std::string kind, std::string subject,
                                            std::string detail) = 0;

    virtual bool up() const = 0;  // The last PING or command was answered in time.
};

}  // namespace hearth
