// ResponseStore: dialogues of past responses, so that the next turn may name one instead of sending
// it.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <string>

#include "cachenode/api/response_request.h"
#include "common/wire/session_key.h"

namespace hearth {

// One io_context's thread. A response is found under the tenant salt that it was kept under, and
// nowhere else. Beyond a bound the least recently used go: a tenant's own beyond a quarter of
// either bound, anybody's beyond the whole. What is kept is lost with the process.
class ResponseStore {
  public:
    struct Limits {
        std::size_t count = 16'384;
        std::size_t bytes = 256 << 20;  // Of texts, and a constant for each message.
    };
    explicit ResponseStore(Limits limits) : limits_(limits) {}

    // Null if it is not kept. A use; valid until the next call.
    const Dialogue* find(const std::string& salt, const std::string& id);
    void keep(const std::string& salt, const std::string& id, Dialogue dialogue);
    // All of a session, under every salt.
    void erase(const SessionKey& session);

    std::size_t count() const { return used_.count; }
    std::size_t bytes() const { return used_.bytes; }

  private:
    struct Kept {
        std::string salt, id;
        Dialogue dialogue;
        std::size_t bytes = 0;
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
};

}  // namespace hearth
