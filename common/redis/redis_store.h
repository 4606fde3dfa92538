// RedisStore: MetadataStore over one pipelined connection; Asio does the I/O, hiredis the protocol.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/net/tls.h"
#include "common/redis/metadata_store.h"

namespace hearth {

struct RedisOptions {
    std::string address = "127.0.0.1:6379";  // Unless there are sentinels.
    std::vector<std::string> sentinels;      // host:port each; asked where the master is.
    std::string master_name = "mymaster";    // As the sentinels call it.
    std::string sentinel_password;           // AUTH to them when not empty.
    std::string username, password;          // AUTH when password is not empty.
    int database = 0;
    std::shared_ptr<const TlsContext> tls;           // Null: plain TCP.
    std::string cluster = "default";                 // Keys start with hearth:{cluster}:
    std::chrono::milliseconds command_timeout{250};  // Writes and membership.
    std::chrono::milliseconds lookup_timeout{2};     // find_session, claim_session (design §6).
    std::size_t pipeline_max = 1024;                 // Commands in flight; more are kExhausted.
};

// One io_context. Reconnects with back-off in the background; while down every call fails at once
// with kUnavailable. Health is a PING answered in time, never "connected".
class RedisStore final : public MetadataStore {
  public:
    RedisStore(asio::io_context& io, RedisOptions options);
    ~RedisStore() override;

    void start();  // Begins connecting; returns at once.
    void stop();   // Closes; pending commands fail with kCancelled.

    Task<Result<void>> publish_node(const NodeRecord& record,
                                    std::chrono::milliseconds ttl) override;
    Task<Result<void>> remove_node(const std::string& node_id,
                                   const std::string& generation) override;
    Task<Result<std::vector<NodeRecord>>> nodes() override;
    Task<Result<void>> publish_session(const SessionKey& key, const SessionRecord& record,
                                       std::chrono::milliseconds ttl) override;
    Task<Result<std::optional<SessionRecord>>> find_session(const SessionKey& key) override;
    Task<Result<SessionRecord>> claim_session(const SessionKey& key, const SessionRecord& record,
                                              std::chrono::milliseconds ttl) override;
    Task<Result<void>> pin_session(const SessionKey& key, const std::string& node_id,
                                   std::chrono::milliseconds ttl) override;
    Task<Result<void>> erase_session(const SessionKey& key) override;
    Task<Result<void>> set_drained(const std::string& node_id, bool drained) override;
    Task<Result<std::map<std::string, bool>>> drains() override;
    Task<Result<std::string>> memory_name(const std::string& candidate) override;
    Task<Result<void>> append_event(std::string kind, std::string subject,
                                    std::string detail) override;
    bool up() const override;

  private:
    class Connection;
    RedisOptions options_;
    std::string prefix_;
    std::shared_ptr<Connection> connection_;
};

}  // namespace hearth
