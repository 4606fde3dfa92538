// ResponseStore: past responses and their dialogues, so that the next turn may name one instead of
// sending it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cachenode/api/response_request.h"
#include "common/wire/session_key.h"

namespace hearth {

struct KeptResponse {
    Dialogue dialogue;   // The reply at its end.
    std::string answer;  // The response object, as it was sent.
};

// One io_context's thread. A response is found under the tenant salt that it was kept under, and
// nowhere else. Beyond a bound the least recently used go: a tenant's own beyond a quarter of
// either bound, anybody's beyond the whole. What is kept is lost with the process.
class ResponseStore {
  public:
    struct Limits {
        std::size_t count = 16'384;
        std::size_t bytes = 256 << 20;  // Of texts, and a constant for each message.
    };
    static constexpr std::size_t kBatchBytes = 2 << 20;  // Six times that as JSON, at worst.

    explicit ResponseStore(Limits limits) : limits_(limits) {}

    // Null if it is not kept. A use; valid until the next call.
    const KeptResponse* find(const std::string& salt, const std::string& id);
    // In the place of one of the same id.
    void keep(const std::string& salt, const std::string& id, KeptResponse response);
    bool erase(const std::string& salt, const std::string& id);  // False: it is not kept.
    // All of a session, under every salt.
    void erase(const SessionKey& session);

    // Some of a session's under a salt that were kept behind number `after`, the oldest first, of
    // kBatchBytes at most; larger ones stay where they are. Valid until the next call that is not
    // const.
    struct Batch {
        std::vector<std::pair<std::string, const KeptResponse*>> responses;
        std::uint64_t last = 0;  // Number of the last.
    };
    Batch newer(const std::string& salt, const SessionKey& session, std::uint64_t after) const;
    std::vector<std::pair<SessionKey, std::string>> sessions() const;  // And salts; each once.

    std::size_t count() const { return used_.count; }
    std::size_t bytes() const { return used_.bytes; }

  private:
    struct Kept {
        std::string salt, id;
        KeptResponse response;
        std::size_t bytes = 0;
        std::uint64_t number = 0;
    };
    using Place = std::list<Kept>::iterator;
    struct Tenant {
        std::map<std::string, Place> by_id;
        std::size_t bytes = 0;
    };
    void drop(Place place);

    const Limits limits_;
    std::list<Kept> order_;  // The least recently used first.
    std::map<std::string, Tenant> tenants_;
    Limits used_{0, 0};
    std::uint64_t numbers_ = 0;
};

}  // namespace hearth
