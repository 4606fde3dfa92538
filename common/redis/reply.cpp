// hiredis' formatter and reader behind values of ours.
#include "common/redis/reply.h"

#include <hiredis/hiredis.h>

#include "common/base/check.h"

namespace hearth {
namespace {

// Depth is bounded by hiredis' reader, which refuses deeper nesting than it was built for.
Reply convert(const redisReply& from) {
    Reply reply;
    switch (from.type) {
        case REDIS_REPLY_STRING:
        case REDIS_REPLY_STATUS:
            reply.kind = Reply::Kind::kText;
            reply.text.assign(from.str, from.len);
            break;
        case REDIS_REPLY_ERROR:
            reply.kind = Reply::Kind::kError;
            reply.text.assign(from.str, from.len);
            break;
        case REDIS_REPLY_INTEGER:
            reply.kind = Reply::Kind::kInteger;
            reply.integer = from.integer;
            break;
        case REDIS_REPLY_ARRAY:
            reply.kind = Reply::Kind::kArray;
            reply.items.reserve(from.elements);
            for (std::size_t i = 0; i < from.elements; ++i)
                reply.items.push_back(convert(*from.element[i]));
            break;
        default: break;
    }
    return reply;
}

}  // namespace

Error error_of(const Reply& reply) {
    constexpr std::size_t kTextBytesMax = 200;
    const std::string text = reply.text.substr(0, reply.text.find(", with args"));
    return make_error(ErrorCode::kUnavailable, "Redis answered: " + text.substr(0, kTextBytesMax));
}

std::string format_command(const std::vector<std::string_view>& argv) {
    std::vector<const char*> texts;
    std::vector<std::size_t> sizes;
    for (const std::string_view arg : argv) {
        texts.push_back(arg.empty() ? "" : arg.data());
        sizes.push_back(arg.size());
    }
    char* bytes = nullptr;
    const auto size =
        redisFormatCommandArgv(&bytes, static_cast<int>(argv.size()), texts.data(), sizes.data());
    CHECK(size > 0);
    std::string command(bytes, static_cast<std::size_t>(size));
    redisFreeCommand(bytes);
    return command;
}

ReplyReader::ReplyReader() : reader_(redisReaderCreate()) {
    CHECK(reader_ != nullptr);
}
ReplyReader::~ReplyReader() {
    redisReaderFree(reader_);
}

void ReplyReader::feed(std::string_view bytes) {
    // An error is kept in the reader and comes out of next().
    redisReaderFeed(reader_, bytes.data(), bytes.size());
    bytes_since_reply_ += bytes.size();
}

Result<std::optional<Reply>> ReplyReader::next() {
    void* out = nullptr;
    if (redisReaderGetReply(reader_, &out) != REDIS_OK)
        return make_error(ErrorCode::kCorrupt, std::string("Redis protocol: ") + reader_->errstr);
    std::optional<Reply> reply;
    if (!out && bytes_since_reply_ > kReplyBytesMax)
        return make_error(ErrorCode::kCorrupt, "Redis protocol: a reply larger than 16 MiB");
    if (out) {
        bytes_since_reply_ = 0;
        reply = convert(*static_cast<redisReply*>(out));
        freeReplyObject(out);
    }
    return reply;
}

}  // namespace hearth
