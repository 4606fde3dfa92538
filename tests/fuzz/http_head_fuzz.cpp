// Fuzz entry of the HTTP readers: heads both ways, chunked bodies, server-sent events.
// Build and run: ./dev fuzz http_head
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "common/net/http_head.h"
#include "common/net/sse.h"

namespace {

using namespace hearth;

// What was understood, written anew, must be understood the same.
void check_request(std::string_view bytes) {
    RequestHead head;
    const HeadOutcome outcome = parse_request_head(bytes, {}, head);
    if (outcome.progress != HeadProgress::kDone) return;
    CHECK(outcome.consumed <= bytes.size());
    std::string again = std::string(head.method) + " " + std::string(head.target) + " HTTP/1." +
                        std::to_string(head.version_minor) + "\r\n";
    for (const HeaderField& field : head.fields)
        again += std::string(field.name) + ": " + std::string(field.value) + "\r\n";
    again += "\r\n";
    HeadLimits wide;
    wide.head_bytes_max *= 2;
    RequestHead second;
    CHECK(parse_request_head(again, wide, second).progress == HeadProgress::kDone);
    CHECK(second.body == head.body && second.content_length == head.content_length);
    CHECK(second.fields.size() == head.fields.size());
}

std::string decode(std::string_view bytes, std::size_t step, bool& done) {
    ChunkedDecoder decoder;
    std::string body;
    done = false;
    while (!bytes.empty()) {
        const ChunkedDecoder::Piece piece = decoder.next(bytes.substr(0, step));
        if (piece.bad) return "bad";
        body.append(piece.body);
        done = piece.done;
        if (done) return body;
        CHECK(piece.consumed > 0);
        bytes.remove_prefix(piece.consumed);
    }
    return body;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(input), size);
    check_request(bytes);
    ResponseHead response;
    (void)parse_response_head(bytes, {}, "GET", response);
    bool whole_done = false;
    bool split_done = false;
    const std::string whole = decode(bytes, bytes.size(), whole_done);
    CHECK(whole == decode(bytes, 1, split_done) && whole_done == split_done);
    std::string at_once;
    std::string split;
    SseReader one;
    one.feed(bytes, [&](std::string_view data) { at_once.append(data).push_back('|'); });
    SseReader many;
    for (std::size_t i = 0; i < size; ++i)
        many.feed(bytes.substr(i, 1),
                  [&](std::string_view data) { split.append(data).push_back('|'); });
    CHECK(at_once == split);
    return 0;
}
