// Reads the bodies and parameters of the admin API.
#include "router/admin/requests.h"

#include <algorithm>
#include <boost/json.hpp>
#include <initializer_list>

#include "router/admin/views.h"
#include "router/session/body_scan.h"

namespace hearth {
namespace {

namespace json = boost::json;

// Of fewer sessions shares are noise.
constexpr std::size_t kKnownSessionsMin = 1'000;

Error bad(const std::string& message) {
    return make_error(ErrorCode::kInvalidArgument, message);
}

Result<json::object> object_of(std::string_view text,
                               std::initializer_list<std::string_view> known) {
    boost::system::error_code failed;
    const json::value value = json::parse(text, failed);
    if (failed || !value.is_object()) return bad("the body must be a JSON object");
    for (const auto& member : value.as_object())
        if (std::find(known.begin(), known.end(), member.key()) == known.end())
            return bad("unknown field '" + std::string(member.key()) + "'");
    return value.as_object();
}

Result<std::string> text_at(const json::object& object, std::string_view name) {
    const json::value* value = object.if_contains(name);
    if (value == nullptr) return std::string();
    if (!value->is_string()) return bad(std::string(name) + ": must be text");
    return std::string(value->as_string());
}

Result<KeySource> source_of(std::string_view name) {
    for (int i = 0; i <= static_cast<int>(KeySource::kUser); ++i)
        if (name == to_string(static_cast<KeySource>(i))) return static_cast<KeySource>(i);
    return bad("source: unknown source '" + std::string(name) + "'");
}

// The head as a client would send it, read by the one parser there is.
Result<std::optional<RawKey>> key_of_headers(const RouterCore& core, const json::value* headers) {
    if (headers == nullptr) return std::optional<RawKey>();
    if (!headers->is_object()) return bad("headers: must be an object");
    std::string bytes = "POST /v1/chat/completions HTTP/1.1\r\nhost: explain\r\n";
    for (const auto& field : headers->as_object()) {
        if (!field.value().is_string()) return bad("headers: every value must be text");
        bytes += std::string(field.key()) + ": " + std::string(field.value().as_string()) + "\r\n";
    }
    bytes += "\r\n";
    RequestHead head;
    const HeadOutcome outcome = parse_request_head(bytes, HeadLimits(), head);
    if (outcome.progress != HeadProgress::kDone) return bad("headers: " + outcome.error.message);
    return core.keys.from_head(head);
}

Result<RawKey> key_of_body(const RouterCore& core, const json::value* body) {
    if (body == nullptr) return bad("body: is required, as no header names the session");
    BodyScan scan(core.config->session_from_user);
    auto progress = scan.feed(json::serialize(*body));
    if (progress == BodyScan::Progress::kMore) progress = scan.finish();
    if (progress == BodyScan::Progress::kBad) return bad("body: " + scan.error());
    return scan.key();
}

Result<std::vector<WhatIfChange>> changes_of(const json::object& asked) {
    std::vector<WhatIfChange> changes;
    for (const char* kind : {"add", "remove", "reweigh"}) {
        const json::value* list = asked.if_contains(kind);
        if (list == nullptr) continue;
        if (!list->is_array()) return bad(std::string(kind) + ": must be a list");
        for (const json::value& entry : list->as_array()) {
            if (!entry.is_string()) return bad(std::string(kind) + ": every entry must be text");
            auto change = what_if_change(kind, std::string(entry.as_string()));
            if (!change) return bad(std::string(kind) + ": " + change.error().message);
            changes.push_back(std::move(*change));
        }
    }
    if (changes.empty()) return bad("nothing to weigh: give add, remove or reweigh");
    return changes;
}

std::vector<WhatIfSession> known_sessions(const RouterCore& core) {
    std::vector<WhatIfSession> sessions;
    core.bindings.each([&sessions](const SessionKey& key, const Binding& binding) {
        sessions.push_back({key, binding.node_id, binding.tokens});
    });
    return sessions;
}

}  // namespace

Result<SessionKey> session_of(const RouterCore& core,
                              const std::map<std::string, std::string>& query) {
    const auto at = [&query](const char* name) {
        const auto found = query.find(name);
        return found == query.end() ? std::string() : found->second;
    };
    const std::string key = at("key");
    if (key.empty()) return bad("key: is required");
    if (query.count("source") == 0) {
        if (query.count("tenant") != 0) return bad("tenant: only goes with source");
        auto session = SessionKey::from_hex(key);
        if (!session) return bad("key: must be 32 hex digits, or a client's key with its source");
        return session;
    }
    if (key.size() > kRawKeyBytesMax) return bad("key: is longer than 256 bytes");
    const auto source = source_of(at("source"));
    if (!source) return source.error();
    return core.keys.derive({*source, key}, at("tenant"));
}

Result<FoundSession> session_of_request(const RouterCore& core, std::string_view text) {
    const auto asked = object_of(text, {"headers", "body", "tenant"});
    if (!asked) return asked.error();
    const auto tenant = text_at(*asked, "tenant");
    if (!tenant) return tenant.error();
    auto key = key_of_headers(core, asked->if_contains("headers"));
    if (!key) return key.error();
    if (!key->has_value()) {
        auto scanned = key_of_body(core, asked->if_contains("body"));
        if (!scanned) return scanned.error();
        *key = std::move(*scanned);
    }
    return FoundSession{core.keys.derive(**key, *tenant), (*key)->source};
}

Result<json::object> what_if_of(const RouterCore& core, std::string_view text) {
    const auto asked = object_of(text, {"add", "remove", "reweigh", "sessions"});
    if (!asked) return asked.error();
    const auto changes = changes_of(*asked);
    if (!changes) return changes.error();
    const auto from = text_at(*asked, "sessions");
    if (!from) return from.error();
    if (!from->empty() && *from != "known" && *from != "sample")
        return bad("sessions: must be known or sample");
    std::vector<WhatIfSession> sessions;
    if (*from != "sample") sessions = known_sessions(core);
    const bool known = *from == "known" || sessions.size() >= kKnownSessionsMin;
    if (!known) sessions = what_if_sample();
    std::vector<WhatIfNode> nodes;
    const auto members = core.membership.now();
    for (std::size_t i = 0; i < members->seats.size(); ++i)
        nodes.push_back({members->members[i].record.node_id, members->members[i].record.weight});
    const auto answer = what_if(nodes, *changes, sessions);
    if (!answer) return answer.error();
    return view(*answer, known ? "known" : "sample");
}

Result<std::string> one_text(std::string_view text, std::string_view name) {
    const auto asked = object_of(text, {name});
    if (!asked) return asked.error();
    auto value = text_at(*asked, name);
    if (value && value->empty()) return bad(std::string(name) + ": is required");
    return value;
}

}  // namespace hearth
