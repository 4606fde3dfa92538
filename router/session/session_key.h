// Where a request's session key comes from: the sources of the head, in order (design §5).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/net/http_head.h"
#include "common/wire/response_id.h"
#include "common/wire/session_key.h"

namespace hearth {

// A key as the client gave it, or the content anchor. Never logged, never stored.
struct RawKey {
    KeySource source = KeySource::kAnchor;
    std::string value;
};

// Immutable after construction; any thread.
class SessionKeys {
  public:
    struct Options {
        std::vector<std::string> headers;  // Looked at before the built-in names.
        std::string cookie;                // After the headers; empty = none.
        std::string secret;                // Shared by all routers of a fleet.
    };
    explicit SessionKeys(const Options& options);

    // The first source of the head that is present and not empty; nothing if there is none and the
    // body has to be asked. kInvalidArgument for a key over kRawKeyBytesMax. '-' and '_' are alike
    // in names. Reads no body byte.
    Result<std::optional<RawKey>> from_head(const RequestHead& head) const;

    // The id of a response holds its session as it is: the turn belongs to that, whatever named it
    // first.
    SessionKey derive(const RawKey& key, std::string_view tenant) const {
        if (key.source == KeySource::kConversation)
            if (const auto session = session_of_response(key.value)) return *session;
        return deriver_.derive(tenant, key.source, key.value);
    }

    // Names that belong to one request, not to a chat: every turn would go to another node.
    static bool is_per_request(std::string_view header_name);

  private:
    std::string_view find_cookie(const RequestHead& head) const;

    Options options_;
    KeyDeriver deriver_;
    std::uint64_t sizes_ = 0;         // Bit n: one of names_ has n bytes.
    std::vector<std::string> names_;  // Lower case, '_' as '-', most wanted first.
};

}  // namespace hearth
