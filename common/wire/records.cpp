// Node and session records as the fields of a Redis hash, and back.
#include "common/wire/records.h"

#include <charconv>
#include <cstdio>

namespace hearth {
namespace {

std::string text_of(std::int64_t value) {
    return std::to_string(value);
}

std::string text_of(double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.17g", value);
    return text;
}

// No count of ours comes near this; what does would overflow the sums that routers make of it.
constexpr std::int64_t kNumberMax = 1'000'000'000'000'000;

std::string missed_field(std::size_t reason) {
    return std::string("missed_") + kMissReasonNames[reason];
}

// Reads named fields into places; remembers the first bad one.
class Reader {
  public:
    explicit Reader(const FieldList& fields) : fields_(fields) {}

    void read(const char* name, std::string& place) {
        if (const std::string* text = find(name)) place = *text;
    }
    void read(const char* name, std::int64_t& place) { number(name, place); }
    void read(const char* name, double& place) { number(name, place); }
    void read(const char* name, NodeState& place) {
        const std::string* text = find(name);
        if (!text) return;
        for (const NodeState state :
             {NodeState::kStarting, NodeState::kReady, NodeState::kDraining})
            if (*text == to_string(state)) {
                place = state;
                return;
            }
        bad(name);
    }
    const std::string& error() const { return error_; }

  private:
    const std::string* find(const char* name) const {
        for (const auto& [key, value] : fields_)
            if (key == name) return &value;
        return nullptr;
    }
    template <typename T>
    void number(const char* name, T& place) {
        const std::string* text = find(name);
        if (!text) return;
        const char* end = text->data() + text->size();
        T value{};
        const auto [stop, failed] = std::from_chars(text->data(), end, value);
        // Written so that NaN fails too.
        const bool in_range = value >= 0 && value <= static_cast<T>(kNumberMax);
        if (failed != std::errc() || stop != end || !in_range) return bad(name);
        place = value;
    }
    void bad(const char* name) {
        if (error_.empty()) error_ = std::string("field '") + name + "' of the record is malformed";
    }

    const FieldList& fields_;
    std::string error_;
};

}  // namespace

const char* to_string(NodeState state) {
    switch (state) {
        case NodeState::kStarting: return "starting";
        case NodeState::kReady: return "ready";
        case NodeState::kDraining: return "draining";
    }
    return "unknown";
}

FieldList to_fields(const NodeRecord& r) {
    FieldList out{{"node_id", r.node_id},
                  {"generation", r.generation},
                  {"address", r.address},
                  {"state", to_string(r.state)},
                  {"model", r.model},
                  {"model_fingerprint", r.model_fingerprint},
                  {"weight", text_of(r.weight)},
                  {"queued_tokens", text_of(r.queued_tokens)},
                  {"prefill_tokens_per_s", text_of(r.prefill_tokens_per_s)},
                  {"running", text_of(r.running)},
                  {"waiting", text_of(r.waiting)},
                  {"kv_bytes_used", text_of(r.kv_bytes_used)},
                  {"kv_bytes_max", text_of(r.kv_bytes_max)},
                  {"kv_disk_bytes_used", text_of(r.kv_disk_bytes_used)},
                  {"kv_disk_bytes_max", text_of(r.kv_disk_bytes_max)},
                  {"reused_tokens", text_of(r.reused_tokens)},
                  {"reusable_tokens", text_of(r.reusable_tokens)},
                  {"prompt_tokens", text_of(r.prompt_tokens)},
                  {"started_ms", text_of(r.started_ms)}};
    if (r.is_drained) out.emplace_back("is_drained", "1");
    if (r.sessions >= 0) out.emplace_back("sessions", text_of(r.sessions));
    for (std::size_t i = 0; i < kMissReasonNames.size(); ++i)
        out.emplace_back(missed_field(i), text_of(r.missed_tokens[i]));
    return out;
}

FieldList to_fields(const SessionRecord& r) {
    return {{"node_id", r.node_id},
            {"generation", r.generation},
            {"epoch", text_of(r.epoch)},
            {"tokens", text_of(r.tokens)},
            {"turn", text_of(r.turn)},
            {"tier", r.tier},
            {"since_ms", text_of(r.since_ms)},
            {"updated_ms", text_of(r.updated_ms)},
            {"from_node", r.from_node},
            {"from_generation", r.from_generation},
            {"from_tokens", text_of(r.from_tokens)}};
}

Result<NodeRecord> node_record_from(const FieldList& fields) {
    NodeRecord r;
    Reader in(fields);
    in.read("node_id", r.node_id);
    in.read("generation", r.generation);
    in.read("address", r.address);
    in.read("state", r.state);
    in.read("model", r.model);
    in.read("model_fingerprint", r.model_fingerprint);
    in.read("weight", r.weight);
    in.read("queued_tokens", r.queued_tokens);
    in.read("prefill_tokens_per_s", r.prefill_tokens_per_s);
    in.read("running", r.running);
    in.read("waiting", r.waiting);
    in.read("sessions", r.sessions);
    in.read("kv_bytes_used", r.kv_bytes_used);
    in.read("kv_bytes_max", r.kv_bytes_max);
    in.read("kv_disk_bytes_used", r.kv_disk_bytes_used);
    in.read("kv_disk_bytes_max", r.kv_disk_bytes_max);
    in.read("reused_tokens", r.reused_tokens);
    in.read("reusable_tokens", r.reusable_tokens);
    in.read("prompt_tokens", r.prompt_tokens);
    for (std::size_t i = 0; i < kMissReasonNames.size(); ++i)
        in.read(missed_field(i).c_str(), r.missed_tokens[i]);
    in.read("started_ms", r.started_ms);
    std::int64_t is_drained = 0;
    in.read("is_drained", is_drained);
    r.is_drained = is_drained != 0;
    if (!in.error().empty()) return make_error(ErrorCode::kCorrupt, in.error());
    return r;
}

Result<SessionRecord> session_record_from(const FieldList& fields) {
    SessionRecord r;
    Reader in(fields);
    in.read("node_id", r.node_id);
    in.read("generation", r.generation);
    in.read("epoch", r.epoch);
    in.read("tokens", r.tokens);
    in.read("turn", r.turn);
    in.read("tier", r.tier);
    in.read("since_ms", r.since_ms);
    in.read("updated_ms", r.updated_ms);
    in.read("from_node", r.from_node);
    in.read("from_generation", r.from_generation);
    in.read("from_tokens", r.from_tokens);
    in.read("pin", r.pin);
    if (!in.error().empty()) return make_error(ErrorCode::kCorrupt, in.error());
    return r;
}

}  // namespace hearth
