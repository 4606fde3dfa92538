// MetadataStore's calls as Redis commands; keys share one hash slot by the braces around the
// cluster.
#include "common/redis/redis_store.h"

#include "common/base/log.h"
#include "common/redis/connection.h"

namespace hearth {
namespace {

// Writes a session's record unless Redis holds one of a higher epoch, so that a late write of an
// old owner does not undo a move. KEYS[1] key; ARGV: epoch, ttl ms, then field, value, ...
constexpr std::string_view kPublishSession =
    "local held = redis.call('HGET', KEYS[1], 'epoch') "
    "if held and tonumber(held) > tonumber(ARGV[1]) then return 0 end "
    "redis.call('DEL', KEYS[1]) "
    "redis.call('HSET', KEYS[1], unpack(ARGV, 3)) "
    "redis.call('PEXPIRE', KEYS[1], ARGV[2]) "
    "return 1";

// Removes a node's record only if it is of the given generation. KEYS: record, index; ARGV:
// generation, id.
constexpr std::string_view kRemoveNode =
    "if redis.call('HGET', KEYS[1], 'generation') == ARGV[1] then "
    "redis.call('DEL', KEYS[1]) redis.call('SREM', KEYS[2], ARGV[2]) return 1 end return 0";

constexpr const char* kEventsMax = "10000";

FieldList fields_of(const Reply& reply) {
    FieldList fields;
    for (std::size_t i = 0; i + 1 < reply.items.size(); i += 2)
        fields.emplace_back(reply.items[i].text, reply.items[i + 1].text);
    return fields;
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

Task<Result<void>> RedisStore::publish_node(const NodeRecord& record,
                                            std::chrono::milliseconds ttl) {
    const auto connection = connection_;
    const std::string key = prefix_ + "node:" + record.node_id;
    const std::string index = prefix_ + "nodes";
    const std::string ttl_ms = std::to_string(ttl.count());
    const FieldList fields = to_fields(record);
    std::vector<std::string_view> argv = {"HSET", key};
    for (const auto& [name, value] : fields) {
        argv.push_back(name);
        argv.push_back(value);
    }
    auto set = co_await connection->command(format_command(argv), options_.command_timeout);
    if (!set) co_return set.error();
    auto expire =
        co_await connection->command(command_of("PEXPIRE", key, ttl_ms), options_.command_timeout);
    if (!expire) co_return expire.error();
    auto add = co_await connection->command(command_of("SADD", index, record.node_id),
                                            options_.command_timeout);
    co_return status_of(add);
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
    const std::string prefix = prefix_;
    auto ids = co_await connection->command(command_of("SMEMBERS", prefix + "nodes"), timeout);
    if (!ids) co_return ids.error();
    std::vector<NodeRecord> live;
    for (const Reply& id : ids->items) {
        const std::string key = prefix + "node:" + id.text;
        auto fields = co_await connection->command(command_of("HGETALL", key), timeout);
        if (!fields) co_return fields.error();
        if (fields->items.empty()) {
            // The record expired: its node is gone. It adds itself again should it return.
            const std::string index = prefix + "nodes";
            auto dropped =
                co_await connection->command(command_of("SREM", index, id.text), timeout);
            if (!dropped) co_return dropped.error();
            continue;
        }
        auto record = node_record_from(fields_of(*fields));
        if (!record)
            log::warn("node record ignored",
                      {{"node", id.text}, {"error", record.error().message}});
        else
            live.push_back(std::move(*record));
    }
    co_return live;
}

Task<Result<void>> RedisStore::publish_session(const SessionKey& key, const SessionRecord& record,
                                               std::chrono::milliseconds ttl) {
    const auto connection = connection_;
    const std::string name = prefix_ + "session:" + key.hex();
    const std::string epoch = std::to_string(record.epoch), ttl_ms = std::to_string(ttl.count());
    const FieldList fields = to_fields(record);
    std::vector<std::string_view> argv = {"EVAL", kPublishSession, "1", name, epoch, ttl_ms};
    for (const auto& [field, value] : fields) {
        argv.push_back(field);
        argv.push_back(value);
    }
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
    auto record = session_record_from(fields_of(*fields));
    if (!record) co_return record.error();
    found = std::move(*record);
    co_return found;
}

Task<Result<void>> RedisStore::erase_session(const SessionKey& key) {
    const auto connection = connection_;
    const std::string name = prefix_ + "session:" + key.hex();
    auto reply = co_await connection->command(command_of("DEL", name), options_.command_timeout);
    co_return status_of(reply);
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
