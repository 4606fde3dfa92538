// Writes the node list as JSON.
#include "router/admin/admin.h"

#include "router/relay/refusal.h"

namespace hearth {
namespace {

// Member ids and addresses come from Redis: they may hold anything.
std::string quoted(std::string_view text) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20 || byte >= 0x7f) {
            out += "\\u00";
            out += kDigits[byte >> 4];
            out += kDigits[byte & 15];
        } else {
            out += c;
        }
    }
    return out + '"';
}

void append_number(std::string& out, const char* name, std::int64_t value) {
    out += std::string(",\"") + name + "\":" + std::to_string(value);
}

void append_text(std::string& out, const char* name, std::string_view value) {
    out += std::string(",\"") + name + "\":" + quoted(value);
}

void append_node(std::string& out, const Member& member) {
    const NodeRecord& record = member.record;
    out += "{\"id\":" + quoted(record.node_id);
    append_text(out, "address", record.address);
    append_text(out, "state", to_string(record.state));
    out += ",\"healthy\":";
    out += member.status->health == NodeStatus::Health::kUp ? "true" : "false";
    append_text(out, "generation", record.generation);
    append_text(out, "model", record.model);
    out += ",\"weight\":" + std::to_string(record.weight);
    append_number(out, "in_flight", member.status->in_flight);
    append_number(out, "running", record.running);
    append_number(out, "waiting", record.waiting);
    append_number(out, "queued_tokens", record.queued_tokens);
    append_number(out, "kv_bytes_used", record.kv_bytes_used);
    append_number(out, "kv_bytes_max", record.kv_bytes_max);
    append_number(out, "reused_tokens", record.reused_tokens);
    append_number(out, "reusable_tokens", record.reusable_tokens);
    append_number(out, "prompt_tokens", record.prompt_tokens);
    out += '}';
}

}  // namespace

std::string nodes_body(const Members& members, const std::string& cluster, bool directory_up) {
    std::string out = "{\"cluster\":" + quoted(cluster) + ",\"directory_up\":";
    out += directory_up ? "true" : "false";
    out += ",\"nodes\":[";
    for (std::size_t i = 0; i < members.members.size(); ++i) {
        if (i > 0) out += ',';
        append_node(out, members.members[i]);
    }
    return out + "]}";
}

Task<void> serve_admin(std::shared_ptr<RouterCore> core, ServerExchange& exchange) {
    const RequestHead& head = exchange.head();
    if (head.path != "/admin/v1/nodes" || head.method != "GET") {
        Refusal refusal{404, "not_found", "the admin API has GET /admin/v1/nodes only"};
        co_await refuse(exchange, std::move(refusal), std::string());
        co_return;
    }
    const bool directory_up = core->store != nullptr && core->store->up();
    const std::string body =
        nodes_body(*core->membership.now(), core->config->cluster, directory_up);
    HeaderList headers{{"content-type", "application/json"}};
    (void)co_await exchange.respond(200, std::move(headers), body);
}

}  // namespace hearth
