// MetadataStore's calls as Redis commands. The braces in the keys put them all in one hash slot.
#include "common/redis/redis_store.h"

#include <algorithm>

#include "common/base/log.h"
#include "common/redis/connection.h"

namespace hearth {
namespace {

// Scripts, so that each change is atomic: no record without a time to live, no index without its
// record. A key of another type that someone left there makes way; HSET is else the first write, so
// that a full Redis refuses the script (one that began with DEL would be let through).

// KEYS: record, index; ARGV: ttl ms, id, then field, value, ...
constexpr std::string_view kPublishNode =
    "local kind = redis.call('TYPE', KEYS[1]).ok "
    "if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end "
    "redis.call('HSET', KEYS[1], unpack(ARGV, 3)) "
    "redis.call('PEXPIRE', KEYS[1], ARGV[1]) "
    "return redis.call('SADD', KEYS[2], ARGV[2])";

// Only a record of the given generation. KEYS: record, index; ARGV: generation, id.
constexpr std::string_view kRemoveNode =
    "if redis.call('HGET', KEYS[1], 'generation') == ARGV[1] then "
    "redis.call('DEL', KEYS[1]) redis.call('SREM', KEYS[2], ARGV[2]) return 1 end return 0";

// Only if it did not come back meanwhile. KEYS: record, index; ARGV: id.
constexpr std::string_view kForgetNode =
    "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end "
    "return redis.call('SREM', KEYS[2], ARGV[1])";

// Unless Redis holds a higher epoch, or this one for another node: a late write of an old owner
// must not undo a move. KEYS: record; ARGV: epoch, ttl ms, node id, then field, value, ...
constexpr std::string_view kPublishSession =
    "local kind = redis.call('TYPE', KEYS[1]).ok "
    "if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end "
    "local held = tonumber(redis.call('HGET', KEYS[1], 'epoch')) "
    "if held and held > tonumber(ARGV[1]) then return 0 end "
    "local node = redis.call('HGET', KEYS[1], 'node_id') "
    "if held == tonumber(ARGV[1]) and node and node ~= '' and node ~= ARGV[3] then return 0 end "
    "redis.call('HSET', KEYS[1], unpack(ARGV, 4)) "
    "redis.call('PEXPIRE', KEYS[1], ARGV[2]) "
    "return 1";

// Unless Redis holds the same epoch or a higher one. What the claim says of the tokens that its
// last node holds gives way to what that node said. Answers with the record that stands.
// KEYS: record; ARGV: epoch, ttl ms, then field, value, ...
constexpr std::string_view kClaimSession =
    "local kind = redis.call('TYPE', KEYS[1]).ok "
    "if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end "
    "local held = tonumber(redis.call('HGET', KEYS[1], 'epoch')) "
    "if held and held >= tonumber(ARGV[1]) then return redis.call('HGETALL', KEYS[1]) end "
    "local last = redis.call('HMGET', KEYS[1], 'node_id', 'tokens') "
    "redis.call('HSET', KEYS[1], unpack(ARGV, 3)) "
    "local from = redis.call('HGET', KEYS[1], 'from_node') "
    "if from and from ~= '' and from == last[1] and (tonumber(last[2]) or 0) > 0 then "
    "redis.call('HSET', KEYS[1], 'from_tokens', last[2]) end "
    "redis.call('PEXPIRE', KEYS[1], ARGV[2]) "
    "return redis.call('HGETALL', KEYS[1])";

// KEYS: record; ARGV: ttl ms, node id.
constexpr std::string_view kPinSession =
    "if ARGV[2] == '' then return redis.call('HDEL', KEYS[1], 'pin') end "
    "redis.call('HSET', KEYS[1], 'pin', ARGV[2]) "
    "if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then "
    "redis.call('PEXPIRE', KEYS[1], ARGV[1]) end "
    "return 1";

constexpr std::size_t kNodesPerBatch = 64;
constexpr const char* kEventsMax = "10000";

FieldList fields_of(const Reply& reply) {
    FieldList fields;
    for (std::size_t i = 0; i + 1 < reply.items.size(); i += 2)
        fields.emplace_back(reply.items[i].text, reply.items[i + 1].text);
    return fields;
}

void append_fields(std::vector<std::string_view>& argv, const FieldList& fields) {
    for (const auto& [name, value] : fields) {
        argv.push_back(name);
        argv.push_back(value);
    }
}

// The record of node `id` in an answer to HGETALL.
Result<NodeRecord> node_of(const std::string& id, const Reply& reply) {
    if (reply.kind != Reply::Kind::kArray)
        return make_error(ErrorCode::kCorrupt, "the key of the record is not a hash");
    auto record = node_record_from(fields_of(reply));
    if (record && (id.empty() || record->node_id != id))
        return make_error(ErrorCode::kCorrupt, "the record does not name its node");
    return record;
}

// The record in an answer to HGETALL.
Result<SessionRecord> session_of(const Reply& reply) {
    auto record = session_record_from(fields_of(reply));
    if (record && record->node_id.empty() && record->pin.empty())
        return make_error(ErrorCode::kCorrupt, "the record names no node");
    return record;
}

Result<void> status_of(const Result<Reply>& reply) {
    if (!reply) return reply.error();
    return {};
}

}  // namespace

RedisStore::RedisStore(asio::io_context& io, RedisOptions options)
    : options_(std::move(options)),
      prefix_("hearth:{" + options_.cluster + "}:"),
      connection_(std::make_shared<Connection>(io, options_)) {}

RedisStore::~RedisStore() {
    stop();
}

void RedisStore::start() {
    connection_->start();
}
void RedisStore::stop() {
    connection_->stop();
}
bool RedisStore::up() const {
    return connection_->up();
}

// In every call below nothing of the store is used after the first wait: it may be gone by then.

Task<Result<void>> RedisStore::publish_node(const NodeRecord& record,
                                            std::chrono::milliseconds ttl) {
    const auto connection = connection_;
    const std::string key = prefix_ + "node:" + record.node_id;
    const std::string index = prefix_ + "nodes";
    const std::string ttl_ms = std::to_string(ttl.count());
    const FieldList fields = to_fields(record);
    std::vector<std::string_view> argv = {"EVAL", kPublishNode, "2",           key,
                                          index,  ttl_ms,       record.node_id};
    append_fields(argv, fields);
    auto reply = co_await connection->command(format_command(argv), options_.command_timeout);
    co_return status_of(reply);
}

Task<Result<void>> RedisStore::remove_node(const std::string& node_id,
                                           const std::string& generation) {
    const auto connection = connection_;
    const std::string key = prefix_ + "node:" + node_id;
    const std::string index = prefix_ + "nodes";
    auto reply = co_await connection->command(
        command_of("EVAL", kRemoveNode, "2", key, index, generation, node_id),
        options_.command_timeout);
    co_return status_of(reply);
}

Task<Result<std::vector<NodeRecord>>> RedisStore::nodes() {
    const auto connection = connection_;
    const auto timeout = options_.command_timeout;
    const std::string prefix = prefix_, index = prefix + "nodes";
    auto ids = co_await connection->command(command_of("SMEMBERS", index), timeout);
    if (!ids) co_return ids.error();
    std::vector<NodeRecord> live;
    for (std::size_t done = 0; done < ids->items.size(); done += kNodesPerBatch) {
        const std::size_t end = std::min(done + kNodesPerBatch, ids->items.size());
        std::vector<std::string> commands, forget;
        for (std::size_t i = done; i < end; ++i)
            commands.push_back(command_of("HGETALL", prefix + "node:" + ids->items[i].text));
        auto replies = co_await connection->pipeline(std::move(commands), timeout);
        if (!replies) co_return replies.error();
        for (std::size_t i = done; i < end; ++i) {
            const std::string& id = ids->items[i].text;
            const Reply& reply = (*replies)[i - done];
            if (reply.kind == Reply::Kind::kArray && reply.items.empty()) {
                const std::string key = prefix + "node:" + id;
                forget.push_back(command_of("EVAL", kForgetNode, "2", key, index, id));
                continue;
            }
            // One bad record must not hide the fleet; any other error concerns them all.
            if (reply.kind == Reply::Kind::kError && !reply.text.starts_with("WRONGTYPE"))
                co_return error_of(reply);
            auto record = node_of(id, reply);
            if (record)
                live.push_back(std::move(*record));
            else if (connection->is_news(id + record.error().message))
                log::warn("node record ignored", {{"node", id}, {"error", record.error().message}});
        }
        if (forget.empty()) continue;
        // A node that is listed in vain costs a look-up the next time, no more.
        auto forgotten = co_await connection->pipeline(std::move(forget), timeout);
        if (!forgotten) log::debug("index not cleaned", {{"error", forgotten.error().message}});
    }
    co_return live;
}

Task<Result<void>> RedisStore::publish_session(const SessionKey& key, const SessionRecord& record,
                                               std::chrono::milliseconds ttl) {
    const auto connection = connection_;
    const std::string name = prefix_ + "session:" + key.hex();
    const std::string epoch = std::to_string(record.epoch), ttl_ms = std::to_string(ttl.count());
    const FieldList fields = to_fields(record);
    std::vector<std::string_view> argv = {"EVAL", kPublishSession, "1",           name,
                                          epoch,  ttl_ms,          record.node_id};
    append_fields(argv, fields);
    auto reply = co_await connection->command(format_command(argv), options_.command_timeout);
    co_return status_of(reply);
}

Task<Result<std::optional<SessionRecord>>> RedisStore::find_session(const SessionKey& key) {
    const auto connection = connection_;
    const std::string name = prefix_ + "session:" + key.hex();
    auto fields =
        co_await connection->command(command_of("HGETALL", name), options_.lookup_timeout);
    if (!fields) co_return fields.error();
    std::optional<SessionRecord> found;
    if (fields->items.empty()) co_return found;
    auto record = session_of(*fields);
    if (!record) co_return record.error();
    found = std::move(*record);
    co_return found;
}

Task<Result<SessionRecord>> RedisStore::claim_session(const SessionKey& key,
                                                      const SessionRecord& record,
                                                      std::chrono::milliseconds ttl) {
    const auto connection = connection_;
    const std::string name = prefix_ + "session:" + key.hex();
    const std::string epoch = std::to_string(record.epoch), ttl_ms = std::to_string(ttl.count());
    const FieldList fields = to_fields(record);
    std::vector<std::string_view> argv = {"EVAL", kClaimSession, "1", name, epoch, ttl_ms};
    append_fields(argv, fields);
    auto reply = co_await connection->command(format_command(argv), options_.lookup_timeout);
    if (!reply) co_return reply.error();
    co_return session_of(*reply);
}

Task<Result<void>> RedisStore::pin_session(const SessionKey& key, const std::string& node_id,
                                           std::chrono::milliseconds ttl) {
    const auto connection = connection_;
    const std::string name = prefix_ + "session:" + key.hex();
    const std::string ttl_ms = std::to_string(ttl.count());
    auto reply = co_await connection->command(
        command_of("EVAL", kPinSession, "1", name, ttl_ms, node_id), options_.command_timeout);
    co_return status_of(reply);
}

Task<Result<void>> RedisStore::erase_session(const SessionKey& key) {
    const auto connection = connection_;
    const std::string name = prefix_ + "session:" + key.hex();
    auto reply = co_await connection->command(command_of("DEL", name), options_.command_timeout);
    co_return status_of(reply);
}

Task<Result<void>> RedisStore::set_drained(const std::string& node_id, bool drained) {
    const auto connection = connection_;
    const std::string name = prefix_ + "drains";
    const std::string command = command_of("HSET", name, node_id, drained ? "1" : "0");
    auto reply = co_await connection->command(command, options_.command_timeout);
    co_return status_of(reply);
}

Task<Result<std::map<std::string, bool>>> RedisStore::drains() {
    const auto connection = connection_;
    const std::string name = prefix_ + "drains";
    auto reply =
        co_await connection->command(command_of("HGETALL", name), options_.command_timeout);
    if (!reply) co_return reply.error();
    std::map<std::string, bool> drains;
    for (const auto& [id, value] : fields_of(*reply)) drains[id] = value == "1";
    co_return drains;
}

Task<Result<std::string>> RedisStore::memory_name(const std::string& candidate) {
    const auto connection = connection_;
    const std::string name = prefix_ + "memory";
    std::vector<std::string> commands;
    commands.push_back(command_of("SET", name, candidate, "NX"));
    commands.push_back(command_of("GET", name));
    auto replies = co_await connection->pipeline(std::move(commands), options_.command_timeout);
    if (!replies) co_return replies.error();
    for (const Reply& reply : *replies)
        if (reply.kind == Reply::Kind::kError) co_return error_of(reply);
    co_return replies->back().text;
}

Task<Result<void>> RedisStore::append_event(std::string kind, std::string subject,
                                            std::string detail) {
    const auto connection = connection_;
    const std::string stream = prefix_ + "events";
    auto reply =
        co_await connection->command(command_of("XADD", stream, "MAXLEN", "~", kEventsMax, "*",
                                                "kind", kind, "subject", subject, "detail", detail),
                                     options_.command_timeout);
    co_return status_of(reply);
}

}  // namespace hearth
