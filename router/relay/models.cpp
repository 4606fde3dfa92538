// Cuts model lists into entries with the router's own JSON scanner, and puts them together again.
#include "router/relay/models.h"

#include <charconv>
#include <optional>
#include <set>

#include "common/base/log.h"
#include "router/relay/refusal.h"
#include "router/session/json_scanner.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAskMs{2'000};
constexpr std::size_t kIdBytesMax = 1024;

// Follows one list: {"data":[{"id":"a",...},...]}.
class ListReader {
  public:
    explicit ListReader(std::map<std::string, std::string>& models) : models_(models) {}

    bool read(std::string_view list) {
        std::string_view rest = list;
        while (true) {
            const JsonScanner::Piece piece = scanner_.next(rest);
            if (piece.event == JsonEvent::kNone) break;
            if (piece.event == JsonEvent::kBad) return false;
            const auto end = static_cast<std::size_t>(rest.data() - list.data());
            take(piece, list, end);
        }
        return scanner_.finish() && has_data_;
    }

  private:
    static constexpr std::size_t kListDepth = 2, kEntryDepth = 3;

    // `end`: where the piece ends in `list`.
    void take(const JsonScanner::Piece& piece, std::string_view list, std::size_t end) {
        const std::size_t depth = scanner_.depth();
        switch (piece.event) {
            case JsonEvent::kBeginArray:
                if (depth == kListDepth && name_ == "data") in_data_ = has_data_ = true;
                break;
            case JsonEvent::kEndArray:
                if (depth == kListDepth - 1) in_data_ = false;
                break;
            case JsonEvent::kBeginObject:
                if (in_data_ && depth == kEntryDepth) {
                    entry_begin_ = end - 1;
                    id_.clear();
                }
                break;
            case JsonEvent::kEndObject:
                if (in_data_ && depth == kEntryDepth - 1 && !id_.empty())
                    models_.emplace(id_, list.substr(entry_begin_, end - entry_begin_));
                break;
            case JsonEvent::kKeyPart:
                if (new_name_) name_.clear();
                new_name_ = false;
                if (name_.size() < kIdBytesMax) name_.append(piece.text);
                break;
            case JsonEvent::kKeyEnd:
                if (new_name_) name_.clear();
                new_name_ = true;
                break;
            case JsonEvent::kTextPart:
                if (in_data_ && depth == kEntryDepth && name_ == "id" && id_.size() < kIdBytesMax)
                    id_.append(piece.text);
                break;
            default: break;
        }
    }

    std::map<std::string, std::string>& models_;
    JsonScanner scanner_;
    std::string name_;  // Of the last member that began.
    bool new_name_ = true;
    bool in_data_ = false;
    bool has_data_ = false;
    std::size_t entry_begin_ = 0;
    std::string id_;
};

}  // namespace

bool merge_models(std::string_view list, std::map<std::string, std::string>& models) {
    std::map<std::string, std::string> found;
    if (!ListReader(found).read(list)) return false;
    models.merge(found);
    return true;
}

std::string models_body(const std::map<std::string, std::string>& models) {
    std::string body = "{\"object\":\"list\",\"data\":[";
    bool first = true;
    for (const auto& [id, entry] : models) {
        if (!first) body += ',';
        first = false;
        body += entry;
    }
    return body + "]}";
}

namespace {

// What the nodes said to the question for their models.
struct Census {
    std::map<std::string, std::string> models;
    std::size_t asked = 0, answered = 0;
    int denied = 0;  // 401 or 403, from a node that wants another key.
};

Task<void> ask_nodes(std::shared_ptr<RouterCore> core, HeaderList headers, Census& census) {
    const std::shared_ptr<const Members> members = core->membership.now();
    std::set<std::string> served;
    for (std::size_t i = 0; i < members->seats.size(); ++i) {
        const Member& member = members->members[i];
        const std::string& model = member.record.model;
        if (!member.status->usable() || served.count(model) > 0) continue;
        ++census.asked;
        const auto answer = co_await core->client.call(member.record.address, "GET", "/v1/models",
                                                       headers, "", kAskMs);
        if (answer.ok() && (answer->status == 401 || answer->status == 403)) {
            census.denied = answer->status;
            continue;
        }
        if (!answer.ok() || answer->status != 200 || !merge_models(answer->body, census.models)) {
            log::warn("node gave no model list", {{"node", member.record.node_id}});
            continue;
        }
        ++census.answered;
        if (!model.empty()) served.insert(model);
    }
}

Refusal refusal_of(const Census& census) {
    if (census.asked == 0) return {503, "no_node", "no node can serve this request now", {}, 1};
    if (census.denied == 401) return {401, "unauthorized", "the nodes want another key"};
    if (census.denied == 403) return {403, "forbidden", "the nodes do not allow this"};
    return {502, "node_lost", "no node gave its list of models"};
}

// The text that percent-encoding stands for; the request's head was checked to be well formed.
std::string percent_decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        unsigned value = static_cast<unsigned char>(text[i]);
        if (text[i] == '%' && i + 2 < text.size()) {
            std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16);
            i += 2;
        }
        out += static_cast<char>(value);
    }
    return out;
}

}  // namespace

Task<void> serve_models(std::shared_ptr<RouterCore> core, ServerExchange& exchange,
                        std::string_view wanted, std::string request_id, int& status) {
    HeaderList headers;
    core->admission.follow(core->config);
    Visit visit;
    if (core->admission.has_tenants()) {
        std::optional<Refusal> denied = core->admission.identify(exchange.head(), visit);
        if (denied) {
            status = denied->status;
            Refusal given = std::move(*denied);
            co_await refuse(exchange, std::move(given), std::move(request_id));
            co_return;
        }
    }
    std::string key = upstream_authorization(*core->config, exchange.head());
    if (!key.empty()) headers.emplace_back("authorization", std::move(key));
    Census census;
    co_await ask_nodes(core, headers, census);
    std::erase_if(census.models, [&](const auto& entry) { return !visit.may_use(entry.first); });
    const auto found = census.models.find(percent_decoded(wanted));
    std::optional<Refusal> refusal;
    if (census.answered == 0)
        refusal = refusal_of(census);
    else if (!wanted.empty() && found == census.models.end())
        refusal = Refusal{404, "model_not_found", "no node serves this model", "model"};
    if (refusal) {
        status = refusal->status;
        co_await refuse(exchange, std::move(*refusal), std::move(request_id));
        co_return;
    }
    status = 200;
    headers = {{"content-type", "application/json"}, {"x-request-id", request_id}};
    const std::string body = wanted.empty() ? models_body(census.models) : found->second;
    (void)co_await exchange.respond(status, std::move(headers), body);
}

}  // namespace hearth
