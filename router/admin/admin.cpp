// Which path does what. Every answer is JSON; errors have OpenAI's shape, as everywhere.
#include "router/admin/admin.h"

#include <array>
#include <boost/json.hpp>

#include "common/base/log.h"
#include "common/wire/api_key.h"
#include "common/wire/fleet_secret.h"
#include "common/wire/json_text.h"
#include "router/admin/console.h"
#include "router/admin/drains.h"
#include "router/admin/erase.h"
#include "router/admin/node_turns.h"
#include "router/admin/query.h"
#include "router/admin/requests.h"
#include "router/admin/views.h"
#include "router/members/loops.h"
#include "router/placement/placer.h"
#include "router/relay/refusal.h"

namespace hearth {
namespace {

namespace json = boost::json;

constexpr std::size_t kBodyBytesMax = 4 << 20;

struct Call {
    std::shared_ptr<RouterCore> core;
    ServerExchange& exchange;
    std::string_view name;  // The part of the path that the route leaves open.
};

Task<void> answer(Call& call, json::object body) {
    const std::string text = json_text(body) + "\n";
    HeaderList headers{{"content-type", "application/json"}};
    (void)co_await call.exchange.respond(200, std::move(headers), text);
}

Task<void> fail(Call& call, int status, std::string_view code, std::string message) {
    Refusal refusal{status, code, std::move(message)};
    co_await refuse(call.exchange, std::move(refusal), std::string());
}

Task<void> fail(Call& call, Error error) {
    const bool lost = error.code == ErrorCode::kTimeout || error.code == ErrorCode::kUnavailable;
    if (error.code == ErrorCode::kNotFound)
        co_await fail(call, 404, "not_found", error.message);
    else
        co_await fail(call, lost ? 503 : 400, lost ? "store_unavailable" : "invalid_request",
                      error.message);
}

Task<void> get_nodes(Call& call) {
    const RouterCore& core = *call.core;
    const bool directory_up = core.store != nullptr && core.store->up();
    json::object body = view(*core.membership.now(), core.config->cluster, directory_up);
    if (core.store == nullptr) body["directory_up"] = nullptr;  // There is none to be up.
    for (json::value& node : body["nodes"].as_array()) {
        const std::string id(node.as_object()["id"].as_string());
        if (core.membership.drained(id))
            node.as_object()["drain"] = view(drain_state(*call.core, id));
    }
    co_await answer(call, std::move(body));
}

Task<void> get_history(Call& call) {
    json::object body = view(call.core->history);
    co_await answer(call, std::move(body));
}

// Shows nothing by itself, so it needs no token: the page asks for it.
Task<void> get_console(Call& call) {
    HeaderList headers{{"content-type", "text/html; charset=utf-8"},
                       {"cache-control", "no-store"},
                       {"x-content-type-options", "nosniff"},
                       {"referrer-policy", "no-referrer"},
                       {"content-security-policy",
                        "default-src 'none'; style-src 'unsafe-inline'; script-src "
                        "'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; "
                        "form-action 'none'; frame-ancestors 'none'"}};
    (void)co_await call.exchange.respond(200, std::move(headers), console_page());
}

// POST .../drain and .../undrain.
Task<void> change_drain(Call& call, bool drained) {
    const auto name = percent_decoded(call.name);
    if (!name) {
        co_await fail(call, name.error());
        co_return;
    }
    if (call.core->membership.now()->find(*name) == nullptr) {
        co_await fail(call, 404, "not_found", "'" + *name + "' is no member");
        co_return;
    }
    if (!drained) call.core->drain_pace.forget(*name);
    const auto told = co_await set_drain(call.core, *name, drained);
    json::object body{{"node", *name}, {"drained", drained}, {"told", told.ok()}};
    if (!told) body["error"] = "the other routers do not know it yet: " + told.error().message;
    body["drain"] = view(drain_state(*call.core, *name));
    co_await answer(call, std::move(body));
}

Task<void> post_drain(Call& call) {
    co_await change_drain(call, true);
}

Task<void> post_undrain(Call& call) {
    co_await change_drain(call, false);
}

// The session that the path names: 32 hex digits, or with `source` a key as its clients give it.
Result<SessionKey> named_session(const Call& call) {
    const RequestHead& head = call.exchange.head();
    auto query = parse_query(head.query, {"source", "tenant"});
    if (!query) return query.error();
    auto name = percent_decoded(call.name);
    if (!name) return name.error();
    (*query)["key"] = *name;
    return session_of(*call.core, *query);
}

Task<void> get_explain(Call& call) {
    const RequestHead& head = call.exchange.head();
    const auto query = parse_query(head.query, {"key", "source", "tenant"});
    if (!query) {
        co_await fail(call, query.error());
        co_return;
    }
    const auto session = session_of(*call.core, *query);
    if (!session) {
        co_await fail(call, session.error());
        co_return;
    }
    const Explanation explanation = co_await explain(call.core, *session);
    const auto source = query->find("source");
    json::object body = view(explanation, source == query->end() ? "" : source->second);
    co_await answer(call, std::move(body));
}

Task<void> post_explain(Call& call) {
    const auto text = co_await call.exchange.read_body(kBodyBytesMax);
    if (!text) {
        co_await fail(call, text.error());
        co_return;
    }
    const auto found = session_of_request(*call.core, *text);
    if (!found) {
        co_await fail(call, found.error());
        co_return;
    }
    const Explanation explanation = co_await explain(call.core, found->session);
    json::object body = view(explanation, to_string(found->source));
    co_await answer(call, std::move(body));
}

Task<void> post_what_if(Call& call) {
    const auto text = co_await call.exchange.read_body(kBodyBytesMax);
    if (!text) {
        co_await fail(call, text.error());
        co_return;
    }
    auto body = what_if_of(*call.core, *text);
    if (!body)
        co_await fail(call, body.error());
    else
        co_await answer(call, std::move(*body));
}

Task<void> get_session(Call& call) {
    const auto session = named_session(call);
    if (!session) {
        co_await fail(call, session.error());
        co_return;
    }
    const Explanation explanation = co_await explain(call.core, *session);
    json::array nodes = co_await node_turns(call.core, *session);
    json::object body{{"session", session->hex()},
                      {"placement", view(explanation, "")},
                      {"turns", view(call.core->decisions.find(*session))},
                      {"nodes", std::move(nodes)}};
    co_await answer(call, std::move(body));
}

// PUT with {"node":"ID"}; DELETE takes it away.
Task<void> pin(Call& call) {
    const auto session = named_session(call);
    if (!session) {
        co_await fail(call, session.error());
        co_return;
    }
    std::string node;
    if (call.exchange.head().method == "PUT") {
        const auto text = co_await call.exchange.read_body(kBodyBytesMax);
        auto wanted = text ? one_text(*text, "node") : Result<std::string>(text.error());
        if (wanted && call.core->membership.now()->find(*wanted) == nullptr)
            wanted = make_error(ErrorCode::kNotFound, "node: '" + *wanted + "' is no member");
        if (!wanted) {
            co_await fail(call, wanted.error());
            co_return;
        }
        node = *wanted;
    }
    if (call.core->store == nullptr) {
        co_await fail(call, 409, "no_store", "pins are kept in the metadata store; there is none");
        co_return;
    }
    const auto done = co_await call.core->store->pin_session(*session, node, kPinTtl);
    if (!done) {
        co_await fail(call, done.error());
        co_return;
    }
    json::object body{{"session", session->hex()}, {"pin", nullptr}};
    if (!node.empty()) body["pin"] = node;
    co_await answer(call, std::move(body));
}

// Everywhere, or the answer says where not.
Task<void> erase_session(Call& call) {
    const auto session = named_session(call);
    if (!session) {
        co_await fail(call, session.error());
        co_return;
    }
    const ErasedEverywhere erased = co_await erase_everywhere(call.core, *session);
    json::object body{{"session", session->hex()},
                      {"bytes", erased.bytes},
                      {"complete", erased.complete},
                      {"nodes", erased.nodes}};
    const std::string text = json_text(body) + "\n";
    HeaderList headers{{"content-type", "application/json"}};
    const int status = erased.complete ? 200 : 502;
    (void)co_await call.exchange.respond(status, std::move(headers), text);
}

Task<void> get_config(Call& call) {
    json::array settings;
    for (const Options::Setting& setting : call.core->loaded.settings)
        settings.push_back(
            json::object{{"name", setting.name},
                         {"value", setting.value},
                         {"origin", setting.origin.empty() ? "default" : setting.origin}});
    json::object body{{"hash", call.core->loaded.fingerprint}, {"settings", std::move(settings)}};
    co_await answer(call, std::move(body));
}

Task<void> post_reload(Call& call) {
    const auto report = call.core->reload();
    if (!report) {
        co_await fail(call, 422, "bad_config", "the old settings stand: " + report.error().message);
        co_return;
    }
    json::object body{{"hash", call.core->loaded.fingerprint},
                      {"changed", json::value_from(report->changed)},
                      {"needs_restart", json::value_from(report->needs_restart)}};
    co_await answer(call, std::move(body));
}

Task<void> get_log_level(Call& call) {
    json::object body{{"level", log::to_string(log::level())}};
    co_await answer(call, std::move(body));
}

Task<void> put_log_level(Call& call) {
    const auto text = co_await call.exchange.read_body(kBodyBytesMax);
    const auto level = text ? one_text(*text, "level") : Result<std::string>(text.error());
    if (!level) {
        co_await fail(call, level.error());
        co_return;
    }
    if (!log::set_level(*level)) {
        co_await fail(call, 400, "invalid_request",
                      "level: must be one of debug, info, warn, error");
        co_return;
    }
    log::info("log level", {{"level", *level}});
    co_await get_log_level(call);
}

constexpr std::string_view kConsolePath = "/";

struct Route {
    std::string_view method, prefix, suffix;  // Between them is Call::name; none if suffix is "$".
    Task<void> (*serve)(Call&);
};
constexpr std::array<Route, 16> kRoutes = {{
    {"GET", kConsolePath, "$", &get_console},
    {"GET", "/admin/v1/nodes", "$", &get_nodes},
    {"GET", "/admin/v1/history", "$", &get_history},
    {"POST", "/admin/v1/nodes/", "/drain", &post_drain},
    {"POST", "/admin/v1/nodes/", "/undrain", &post_undrain},
    {"GET", "/admin/v1/explain", "$", &get_explain},
    {"POST", "/admin/v1/explain", "$", &post_explain},
    {"POST", "/admin/v1/what-if", "$", &post_what_if},
    {"PUT", "/admin/v1/sessions/", "/pin", &pin},
    {"DELETE", "/admin/v1/sessions/", "/pin", &pin},
    {"GET", "/admin/v1/sessions/", "", &get_session},
    {"DELETE", "/admin/v1/sessions/", "", &erase_session},
    {"GET", "/admin/v1/config", "$", &get_config},
    {"POST", "/admin/v1/config/reload", "$", &post_reload},
    {"GET", "/admin/v1/log-level", "$", &get_log_level},
    {"PUT", "/admin/v1/log-level", "$", &put_log_level},
}};

bool fits(const Route& route, std::string_view path) {
    if (route.suffix == "$") return path == route.prefix;
    return path.size() > route.prefix.size() + route.suffix.size() &&
           path.starts_with(route.prefix) && path.ends_with(route.suffix);
}

// A page from elsewhere that a browser on this machine has open must not reach a listener on
// loopback: its requests name their origin, and a name that was bent to us is not ours.
bool is_from_elsewhere(const RouterCore& core, const RequestHead& head) {
    const std::string_view host = head.find("host");
    if (core.config->admin_token.empty() && !is_loopback(host)) return true;
    const std::string_view origin = head.find("origin");
    if (!origin.empty() && origin != "http://" + std::string(host) &&
        origin != "https://" + std::string(host))
        return true;
    const std::string_view site = head.find("sec-fetch-site");
    return !site.empty() && site != "same-origin" && site != "none";
}

bool may_enter(const RouterCore& core, const RequestHead& head) {
    const std::string& token = core.config->admin_token;
    if (token.empty()) return true;
    return find_key(head.find("authorization"), {hash_api_key("Bearer " + token)}).has_value();
}

}  // namespace

Task<void> serve_admin(std::shared_ptr<RouterCore> core, ServerExchange& exchange) {
    Call call{core, exchange, {}};
    const RequestHead& head = exchange.head();
    if (is_from_elsewhere(*core, head)) {
        co_await fail(call, 403, "other_origin",
                      "without a token the admin API is for this machine's own programs and pages; "
                      "give it an address of loopback");
        co_return;
    }
    if (head.path != kConsolePath && !may_enter(*core, head)) {
        co_await fail(call, 401, "unauthorized",
                      "the admin API wants `authorization: Bearer TOKEN`");
        co_return;
    }
    std::string allowed;
    const auto serves = [&](const Route& route) {
        if (!fits(route, head.path)) return false;
        if (route.method == head.method) return true;
        allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
        return false;
    };
    const Route* found = nullptr;
    for (const Route& route : kRoutes)
        if (found == nullptr && serves(route)) found = &route;
    if (found != nullptr) {
        if (found->suffix != "$") {
            call.name = head.path.substr(found->prefix.size());
            call.name.remove_suffix(found->suffix.size());
        }
        co_await found->serve(call);
    } else if (!allowed.empty()) {
        Refusal refusal{405, "method_not_allowed", "this path takes " + allowed};
        refusal.headers = {{"allow", allowed}};
        co_await refuse(exchange, std::move(refusal), std::string());
    } else {
        co_await fail(call, 404, "not_found", "unknown path; see docs/api-admin.md");
    }
}

}  // namespace hearth
