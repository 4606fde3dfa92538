// HTTP/1.1 heads: one strict way to read a request or response head, and to write one (RFC 9112).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth {

struct HeaderField {
    std::string_view name;       // As sent; compare with find() or equals_ignore_case().
    std::string_view value;      // Optional white space at both ends removed.
    bool checked = false;        // By the parsers below: name and value are what they must be.
    bool is_connection = false;  // Where it was checked: is_connection_field(name).
};

bool equal_texts_ignoring_case(const char* a, const char* b, std::size_t size);
// Nearly all that differ do so in their first letter.
inline bool equals_ignore_case(std::string_view a, std::string_view b) {
    constexpr int kCase = 'a' - 'A';
    return a.size() == b.size() && (a.empty() || ((a[0] ^ b[0]) | kCase) == kCase) &&
           equal_texts_ignoring_case(a.data(), b.data(), a.size());
}

// Fields that belong to one connection (RFC 9110 section 7.6.1) or to its framing: never forwarded,
// and ignored in what a caller hands to the server or the client, which write their own.
bool is_connection_field_of_that_size(std::string_view name);
inline bool is_connection_field(std::string_view name) {
    constexpr std::uint32_t kSizes =
        1u << 2 | 1u << 6 | 1u << 7 | 1u << 10 | 1u << 14 | 1u << 16 | 1u << 17;
    return name.size() <= 17 && (kSizes >> name.size() & 1) != 0 &&
           is_connection_field_of_that_size(name);
}

inline bool is_connection_field(const HeaderField& field) {
    return field.checked ? field.is_connection : is_connection_field(field.name);
}

bool is_field_name(std::string_view name);    // A token of at least one byte.
bool is_field_value(std::string_view value);  // No control byte except the tab.

struct HeadLimits {
    std::size_t head_bytes_max = 32 * 1024;
    std::size_t fields_max = 128;
    std::size_t target_bytes_max = 8 * 1024;
};

enum class BodyKind { kNone, kLength, kChunked, kUntilClose /* responses only */ };

// Views point into the caller's buffer and live as long as it.
struct RequestHead {
    std::string_view method;
    std::string_view target;  // Origin form, as sent.
    std::string_view path;    // Target up to '?'.
    std::string_view query;   // After '?', may be empty.
    int version_minor = 1;    // 0 or 1.
    std::vector<HeaderField> fields;
    BodyKind body = BodyKind::kNone;
    std::uint64_t content_length = 0;  // With kLength.
    bool keep_alive = true;
    bool expect_continue = false;

    std::string_view find(std::string_view name) const;  // "" when absent; first one when many.
    std::size_t count(std::string_view name) const;
};

struct ResponseHead {
    int status = 0;
    std::string_view reason;
    int version_minor = 1;
    std::vector<HeaderField> fields;
    BodyKind body = BodyKind::kNone;
    std::uint64_t content_length = 0;
    bool keep_alive = true;

    std::string_view find(std::string_view name) const;
};

struct HeadError {
    int status = 400;     // 400, 414, 417, 431, 501, 505; of a response always 502.
    std::string message;  // Says which rule was broken; safe to send back.
};

enum class HeadProgress { kNeedMore, kDone, kError };

struct HeadOutcome {
    HeadProgress progress = HeadProgress::kNeedMore;
    std::size_t consumed = 0;  // Bytes of the head, with kDone.
    HeadError error;           // With kError.
};

// Refuses everything that two implementations might read differently: bare CR or LF, obs-fold,
// space before the colon, unknown or repeated Transfer-Encoding, Transfer-Encoding beside
// Content-Length or in HTTP/1.0, repeated or signed Content-Length, none or several Host fields,
// absolute or authority targets, control bytes. A Content-Length of 0 is kNone. `head` is reset,
// its vectors keep their capacity (no allocation per request in steady state). The outcome does not
// depend on how the bytes were split. Pure.
HeadOutcome parse_request_head(std::string_view bytes, const HeadLimits& limits, RequestHead& head);

// `request_method` decides whether a body follows (HEAD, 204, 304: none).
HeadOutcome parse_response_head(std::string_view bytes, const HeadLimits& limits,
                                std::string_view request_method, ResponseHead& head);

// Decodes chunked transfer coding in place of framing; extensions and trailers are checked, bounded
// and dropped. Feed bytes; body bytes come out as views into the input.
class ChunkedDecoder {
  public:
    struct Piece {
        std::string_view body;     // Body bytes found, may be empty.
        std::size_t consumed = 0;  // Input bytes used up, framing included.
        bool done = false;         // The last chunk and its trailers are over.
        bool bad = false;          // Framing error: close the connection.
    };
    Piece next(std::string_view bytes);

  private:
    enum class State { kSize, kBody, kBodyCr, kBodyLf, kTrailer, kDone, kBad };
    enum class Line { kPartial, kWhole, kBad };

    Line take_line(std::string_view& rest);
    bool read_size();
    bool step(std::string_view& rest);

    State state_ = State::kSize;
    std::uint64_t left_ = 0;       // Body bytes of this chunk still to come.
    std::size_t extra_bytes_ = 0;  // Extensions and trailers so far; bounded at 8 KiB.
    std::string line_;             // The size or trailer line being gathered.
};

const char* reason_phrase(int status);

}  // namespace hearth
