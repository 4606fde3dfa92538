// What callers of the admin API ask for: sessions by key or by request, changes to weigh. Strict.
#pragma once

#include <boost/json/object.hpp>
#include <map>
#include <string>
#include <string_view>

#include "router/core.h"

namespace hearth {

// `key`: 32 hex digits; with `source` ("header", "cookie", "prompt_cache_key", ...) a key as
// clients send it, of `tenant` if given. kInvalidArgument names the parameter.
Result<SessionKey> session_of(const RouterCore& core,
                              const std::map<std::string, std::string>& query);

// {"headers":{"x-session-id":"a"},"body":{...},"tenant":"acme"}, each optional: finds the key as
// the router would. kInvalidArgument says what is wrong with the text or with the request.
struct FoundSession {
    SessionKey session;
    KeySource source = KeySource::kAnchor;
};
Result<FoundSession> session_of_request(const RouterCore& core, std::string_view text);

// {"add":["node-4:2"],"remove":["node-1"],"reweigh":["node-2:0.5"],"sessions":"known"|"sample"}.
// Without "sessions": those this router knows, if there are enough to say something.
Result<boost::json::object> what_if_of(const RouterCore& core, std::string_view text);

// {"NAME":"text"} and nothing else.
Result<std::string> one_text(std::string_view text, std::string_view name);

}  // namespace hearth
