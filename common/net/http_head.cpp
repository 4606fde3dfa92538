// The strict reader of HTTP/1.1 request and response heads (RFC 9112), and the status phrases.
#include "common/net/http_head.h"

#include <array>
#include <charconv>
#include <cstring>

#include "common/base/char_classes.h"

namespace hearth {
namespace {

// Character classes, one bit each.
constexpr unsigned char kToken = 1;   // RFC 9110 tchar.
constexpr unsigned char kTarget = 2;  // RFC 3986 path and query bytes; no fragment, no raw UTF-8.
constexpr unsigned char kValue = 4;   // Field value: HTAB, SP, visible, obs-text.
constexpr unsigned char kHost = 8;    // uri-host [":" port].

constexpr bool one_of(char c, std::string_view set) {
    return set.find(c) != std::string_view::npos;
}

constexpr CharClasses make_classes() {
    CharClasses table{};
    for (int i = 0; i < 256; ++i) {
        const char c = static_cast<char>(i);
        const bool alnum =
            (i >= '0' && i <= '9') || (i >= 'a' && i <= 'z') || (i >= 'A' && i <= 'Z');
        unsigned char bits = 0;
        if (alnum || one_of(c, "!#$%&'*+-.^_`|~")) bits |= kToken;
        if (alnum || one_of(c, "-._~!$&'()*+,;=:@/?%")) bits |= kTarget;
        if (i == '\t' || (i >= 0x20 && i != 0x7f)) bits |= kValue;
        if (alnum || one_of(c, "-._~!$&'()*+;=:[]%")) bits |= kHost;
        table[static_cast<std::size_t>(i)] = bits;
    }
    return table;
}

constexpr CharClasses kClasses = make_classes();

bool is(char c, unsigned char bits) {
    return (kClasses[static_cast<unsigned char>(c)] & bits) != 0;
}

// Whether one of so many bytes is below a space or is DEL (a tab counts).
constexpr std::size_t kValueBytes = 16;
bool has_control(const char* from) {
    using Bytes = signed char __attribute__((vector_size(kValueBytes)));
    Bytes bytes;
    std::memcpy(&bytes, from, sizeof bytes);
    const auto filled = [](char c) { return Bytes{} + static_cast<signed char>(c); };
    // Bytes beyond ASCII are negative.
    const Bytes bad = ((bytes >= Bytes{}) & (bytes < filled(' '))) | (bytes == filled('\x7f'));
    std::uint64_t halves[2];
    std::memcpy(halves, &bad, sizeof halves);
    return (halves[0] | halves[1]) != 0;
}

bool all(std::string_view text, unsigned char bits) {
    return shared_classes(text, kClasses, bits) == bits;
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

// The bytes at `from`, with A to Z, and nothing else, made small: bytes of 7 bits cannot carry.
template <typename Word>
Word lower_word(const char* from) {
    Word word = 0;
    std::memcpy(&word, from, sizeof word);
    constexpr Word kOnes = static_cast<Word>(0x0101010101010101);
    const Word low = word & (kOnes * 0x7f);
    const Word from_a = low + kOnes * (0x80 - 'A'), beyond_z = low + kOnes * (0x7f - 'Z');
    const Word is_upper = from_a & ~beyond_z & ~word & (kOnes * 0x80);
    return word | (is_upper >> 2);
}

bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'f');
}

[[gnu::always_inline]] inline std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

// A rule that was broken, or nothing. `text` has static storage.
struct Broken {
    int status = 0;
    const char* text = nullptr;
    explicit operator bool() const { return text != nullptr; }
};

HeadOutcome failed(Broken broken) {
    return {HeadProgress::kError, 0, {broken.status, broken.text}};
}

// What the framing fields of a head said, gathered while the lines are read.
struct Framing {
    int content_lengths = 0;
    int codings = 0;
    int hosts = 0;
    int connection_options = 0;
    std::uint64_t length = 0;
    bool close = false;
    bool keep_alive = false;
    bool expect_continue = false;
};

// Whoever forwards a head compares each option with each field.
constexpr int kConnectionOptionsMax = 16;

Broken read_connection_options(std::string_view value, Framing& framing) {
    while (!value.empty()) {
        const std::size_t comma = value.find(',');
        const std::string_view option = trim(value.substr(0, comma));
        if (!all(option, kToken)) return {400, "malformed Connection"};
        if (++framing.connection_options > kConnectionOptionsMax)
            return {431, "too many Connection options"};
        if (equals_ignore_case(option, "close")) framing.close = true;
        if (equals_ignore_case(option, "keep-alive")) framing.keep_alive = true;
        value.remove_prefix(comma == std::string_view::npos ? value.size() : comma + 1);
    }
    return {};
}

Broken read_content_length(std::string_view value, Framing& framing) {
    if (++framing.content_lengths > 1) return {400, "Content-Length is repeated"};
    // 18 digits cannot overflow, and no body is that long.
    if (value.empty() || value.size() > 18) return {400, "Content-Length is not a usable number"};
    for (char c : value)
        if (c < '0' || c > '9') return {400, "Content-Length is not a plain number"};
    std::from_chars(value.data(), value.data() + value.size(), framing.length);
    return {};
}

// Notes the fields that decide framing, keep-alive and routing. The switch on the length leaves one
// comparison or none for nearly every field.
Broken note_field(const HeaderField& field, bool request, Framing& framing) {
    switch (field.name.size()) {
        case 4:
            if (!request || !equals_ignore_case(field.name, "host")) return {};
            if (++framing.hosts > 1) return {400, "Host is repeated"};
            if (field.value.empty() || !all(field.value, kHost))
                return {400, "Host is not a host name"};
            return {};
        case 6:
            if (!request || !equals_ignore_case(field.name, "expect")) return {};
            if (!equals_ignore_case(field.value, "100-continue"))
                return {417, "Expect asks for something other than 100-continue"};
            framing.expect_continue = true;
            return {};
        case 10:
            if (!equals_ignore_case(field.name, "connection")) return {};
            return read_connection_options(field.value, framing);
        case 14:
            if (!equals_ignore_case(field.name, "content-length")) return {};
            return read_content_length(field.value, framing);
        case 17:
            if (!equals_ignore_case(field.name, "transfer-encoding")) return {};
            if (++framing.codings > 1) return {400, "Transfer-Encoding is repeated"};
            if (!equals_ignore_case(field.value, "chunked"))
                return {501, "Transfer-Encoding other than chunked"};
            return {};
        default: return {};
    }
}

// The line's CR LF stands behind it, so a name without a colon ends there.
Broken read_field(std::string_view line, HeaderField& field) {
    const char* at = line.data();
    while (is(*at, kToken)) ++at;
    const auto colon = static_cast<std::size_t>(at - line.data());
    if (colon == 0 && (line.front() == ' ' || line.front() == '\t'))
        return {400, "folded or indented header line"};
    if (colon == 0 || colon == line.size() || line[colon] != ':')
        return {400, "malformed header name"};
    field.name = line.substr(0, colon);
    field.value = trim(line.substr(colon + 1));
    if (!is_field_value(field.value)) return {400, "control byte in a header value"};
    field.checked = true;
    field.is_connection = is_connection_field(field.name);
    return {};
}

enum class LineState { kLine, kIncomplete, kBroken };

// Takes one line off `rest`, without its CRLF. A bare LF is an error; a bare CR stays in the line,
// where no character class allows it.
[[gnu::always_inline]] inline LineState take_line(std::string_view& rest, std::string_view& line) {
    const void* found = rest.empty() ? nullptr : std::memchr(rest.data(), '\n', rest.size());
    if (!found) return LineState::kIncomplete;
    const auto end = static_cast<std::size_t>(static_cast<const char*>(found) - rest.data());
    if (end == 0 || rest[end - 1] != '\r') return LineState::kBroken;
    line = rest.substr(0, end - 1);
    rest.remove_prefix(end + 1);
    return LineState::kLine;
}

constexpr Broken kBareLf{400, "line does not end with CR LF"};
constexpr Broken kHeadTooLarge{431, "header section too large"};

// Reads the fields up to the empty line. Progress kDone leaves `rest` behind the head.
HeadOutcome read_fields(std::string_view& rest, bool full, const HeadLimits& limits, bool request,
                        std::vector<HeaderField>& fields, Framing& framing) {
    std::string_view line;
    while (true) {
        const LineState state = take_line(rest, line);
        if (state == LineState::kBroken) return failed(kBareLf);
        if (state == LineState::kIncomplete) {
            if (full) return failed(kHeadTooLarge);
            return {};
        }
        if (line.empty()) return {HeadProgress::kDone, 0, {}};
        if (fields.size() == limits.fields_max) return failed({431, "too many header fields"});
        HeaderField& field = fields.emplace_back();
        if (const Broken broken = read_field(line, field)) return failed(broken);
        if (const Broken broken = note_field(field, request, framing)) return failed(broken);
    }
}

constexpr std::size_t kMethodBytesMax = 32;

// Checks the method at the start of a request line that may still be growing, so that bytes which
// are not HTTP at all (TLS, say) are refused at once. `size` is 0 while its end is not in sight.
Broken check_method(std::string_view line, std::size_t& size) {
    std::size_t i = 0;
    while (i < line.size() && is(line[i], kToken)) {
        if (++i > kMethodBytesMax) return {501, "method too long"};
    }
    size = 0;
    if (i == line.size()) return {};
    if (i == 0 || line[i] != ' ') return {400, "malformed method"};
    size = i;
    return {};
}

Broken check_target(std::string_view target, const HeadLimits& limits) {
    if (target.size() > limits.target_bytes_max) return {414, "request target too long"};
    if (target.empty() || target.front() != '/')
        return {400, "request target is not a path that starts with '/'"};
    for (std::size_t i = 0; i < target.size(); ++i) {
        if (!is(target[i], kTarget)) return {400, "invalid byte in the request target"};
        if (target[i] == '%' &&
            (i + 2 >= target.size() || !is_hex(target[i + 1]) || !is_hex(target[i + 2])))
            return {400, "malformed percent-encoding in the request target"};
    }
    return {};
}

Broken read_version(std::string_view text, int& minor) {
    const bool shaped = text.size() == 8 && text.substr(0, 5) == "HTTP/" && text[6] == '.' &&
                        text[5] >= '0' && text[5] <= '9' && text[7] >= '0' && text[7] <= '9';
    if (!shaped) return {400, "malformed HTTP version"};
    if (text[5] != '1' || text[7] > '1') return {505, "HTTP version other than 1.0 and 1.1"};
    minor = text[7] - '0';
    return {};
}

Broken read_request_line(std::string_view line, const HeadLimits& limits, RequestHead& head) {
    std::size_t method_size = 0;
    if (const Broken broken = check_method(line, method_size)) return broken;
    if (method_size == 0) return {400, "malformed method"};
    head.method = line.substr(0, method_size);
    const std::string_view rest = line.substr(method_size + 1);
    const std::size_t space = rest.find(' ');
    head.target = rest.substr(0, space);
    if (const Broken broken = check_target(head.target, limits)) return broken;
    if (space == std::string_view::npos) return {400, "request line without an HTTP version"};
    if (const Broken broken = read_version(rest.substr(space + 1), head.version_minor))
        return broken;
    const std::size_t mark = head.target.find('?');
    head.path = head.target.substr(0, mark);
    if (mark != std::string_view::npos) head.query = head.target.substr(mark + 1);
    return {};
}

Broken read_status_line(std::string_view line, ResponseHead& head) {
    if (const Broken broken = read_version(line.substr(0, 8), head.version_minor)) return broken;
    const std::string_view rest = line.substr(8);
    if (rest.size() < 4 || rest[0] != ' ') return {502, "malformed status line"};
    for (int i = 1; i <= 3; ++i) {
        const char c = rest[static_cast<std::size_t>(i)];
        if (c < '0' || c > '9') return {502, "malformed status code"};
        head.status = head.status * 10 + (c - '0');
    }
    if (head.status < 100 || head.status > 599) return {502, "status code out of range"};
    // A missing space before an empty reason is common and cannot be misread.
    if (rest.size() == 4) return {};
    if (rest[4] != ' ' || !all(rest.substr(5), kValue)) return {502, "malformed status line"};
    head.reason = rest.substr(5);
    return {};
}

// The rules that every head obeys, whichever way it goes.
Broken check_codings(const Framing& framing, int version_minor) {
    if (framing.codings > 0 && framing.content_lengths > 0)
        return {400, "both Transfer-Encoding and Content-Length"};
    if (framing.codings > 0 && version_minor == 0) return {400, "Transfer-Encoding in HTTP/1.0"};
    return {};
}

Broken apply(const Framing& framing, RequestHead& head) {
    if (const Broken broken = check_codings(framing, head.version_minor)) return broken;
    if (framing.hosts == 0 && head.version_minor == 1) return {400, "Host is missing"};
    if (framing.codings > 0) head.body = BodyKind::kChunked;
    if (framing.content_lengths > 0 && framing.length > 0) {
        head.body = BodyKind::kLength;
        head.content_length = framing.length;
    }
    head.keep_alive = !framing.close && (head.version_minor == 1 || framing.keep_alive);
    head.expect_continue =
        framing.expect_continue && head.version_minor == 1 && head.body != BodyKind::kNone;
    return {};
}

Broken apply(const Framing& framing, std::string_view request_method, ResponseHead& head) {
    if (const Broken broken = check_codings(framing, head.version_minor)) return broken;
    head.keep_alive = !framing.close && (head.version_minor == 1 || framing.keep_alive);
    const bool bare =
        request_method == "HEAD" || head.status < 200 || head.status == 204 || head.status == 304;
    if (bare) return {};
    if (framing.codings > 0) {
        head.body = BodyKind::kChunked;
    } else if (framing.content_lengths > 0) {
        head.body = framing.length > 0 ? BodyKind::kLength : BodyKind::kNone;
        head.content_length = framing.length;
    } else {
        head.body = BodyKind::kUntilClose;
        head.keep_alive = false;
    }
    return {};
}

template <typename Head>
void reset(Head& head) {
    std::vector<HeaderField> fields = std::move(head.fields);  // Keeps its capacity.
    fields.clear();
    head = Head{};
    head.fields = std::move(fields);
}

std::string_view find_in(const std::vector<HeaderField>& fields, std::string_view name) {
    for (const HeaderField& field : fields)
        if (equals_ignore_case(field.name, name)) return field.value;
    return {};
}

}  // namespace

// Two words at most for nearly every name; they may overlap.
bool equal_texts_ignoring_case(const char* a, const char* b, std::size_t size) {
    if (size >= 8) {
        std::size_t i = 0;
        for (; i + 8 < size; i += 8)
            if (lower_word<std::uint64_t>(a + i) != lower_word<std::uint64_t>(b + i)) return false;
        return lower_word<std::uint64_t>(a + size - 8) == lower_word<std::uint64_t>(b + size - 8);
    }
    if (size >= 4)
        return lower_word<std::uint32_t>(a) == lower_word<std::uint32_t>(b) &&
               lower_word<std::uint32_t>(a + size - 4) == lower_word<std::uint32_t>(b + size - 4);
    for (std::size_t i = 0; i < size; ++i)
        if (lower(a[i]) != lower(b[i])) return false;
    return true;
}

bool is_connection_field_of_that_size(std::string_view name) {
    const auto is_one = [name](std::string_view known) { return equals_ignore_case(name, known); };
    switch (name.size()) {
        case 2: return is_one("te");
        case 6: return is_one("expect");
        case 7: return is_one("trailer") || is_one("upgrade");
        case 10: return is_one("connection") || is_one("keep-alive");
        case 14: return is_one("content-length");
        case 16: return is_one("proxy-connection");
        case 17: return is_one("transfer-encoding");
        default: return false;
    }
}

bool is_field_name(std::string_view name) {
    return !name.empty() && all(name, kToken);
}

bool is_field_value(std::string_view value) {
    while (value.size() >= kValueBytes && !has_control(value.data()))
        value.remove_prefix(kValueBytes);
    return all(value, kValue);
}

std::string_view RequestHead::find(std::string_view name) const {
    return find_in(fields, name);
}

std::size_t RequestHead::count(std::string_view name) const {
    std::size_t n = 0;
    for (const HeaderField& field : fields) n += equals_ignore_case(field.name, name) ? 1 : 0;
    return n;
}

std::string_view ResponseHead::find(std::string_view name) const {
    return find_in(fields, name);
}

HeadOutcome parse_request_head(std::string_view bytes, const HeadLimits& limits,
                               RequestHead& head) {
    reset(head);
    // Only what fits the limit is looked at, so the outcome does not depend on how the bytes came.
    const bool full = bytes.size() >= limits.head_bytes_max;
    std::string_view rest = bytes.substr(0, limits.head_bytes_max);
    const std::size_t seen = rest.size();
    // One empty line before a request is to be ignored (RFC 9112 section 2.2).
    if (rest == "\r") return {};
    if (rest.starts_with("\r\n")) rest.remove_prefix(2);
    std::string_view line;
    const LineState state = take_line(rest, line);
    if (state != LineState::kLine) {
        std::size_t unused = 0;
        if (const Broken broken = check_method(rest, unused); broken && !rest.empty())
            return failed(broken);
        if (state == LineState::kBroken) return failed(kBareLf);
        if (full) return failed({414, "request line too long"});
        return {};
    }
    if (const Broken broken = read_request_line(line, limits, head)) return failed(broken);
    Framing framing;
    HeadOutcome outcome = read_fields(rest, full, limits, true, head.fields, framing);
    if (outcome.progress != HeadProgress::kDone) return outcome;
    if (const Broken broken = apply(framing, head)) return failed(broken);
    outcome.consumed = seen - rest.size();
    return outcome;
}

HeadOutcome parse_response_head(std::string_view bytes, const HeadLimits& limits,
                                std::string_view request_method, ResponseHead& head) {
    reset(head);
    const bool full = bytes.size() >= limits.head_bytes_max;
    std::string_view rest = bytes.substr(0, limits.head_bytes_max);
    const std::size_t seen = rest.size();
    std::string_view line;
    Framing framing;
    Broken broken;
    HeadOutcome outcome;
    const LineState state = take_line(rest, line);
    if (state == LineState::kBroken) broken = kBareLf;
    if (state == LineState::kIncomplete && full) broken = kHeadTooLarge;
    if (state == LineState::kLine) {
        broken = read_status_line(line, head);
        if (!broken) {
            outcome = read_fields(rest, full, limits, false, head.fields, framing);
            if (outcome.progress == HeadProgress::kDone)
                broken = apply(framing, request_method, head);
        }
    }
    if (broken) outcome = failed(broken);
    // Whatever an upstream did wrong is a bad gateway to our own client.
    if (outcome.progress == HeadProgress::kError) outcome.error.status = 502;
    if (outcome.progress == HeadProgress::kDone) outcome.consumed = seen - rest.size();
    return outcome;
}

const char* reason_phrase(int status) {
    switch (status) {
        case 100: return "Continue";
        case 200: return "OK";
        case 201: return "Created";
        case 202: return "Accepted";
        case 204: return "No Content";
        case 206: return "Partial Content";
        case 301: return "Moved Permanently";
        case 302: return "Found";
        case 304: return "Not Modified";
        case 307: return "Temporary Redirect";
        case 308: return "Permanent Redirect";
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 408: return "Request Timeout";
        case 409: return "Conflict";
        case 410: return "Gone";
        case 411: return "Length Required";
        case 413: return "Content Too Large";
        case 414: return "URI Too Long";
        case 415: return "Unsupported Media Type";
        case 417: return "Expectation Failed";
        case 421: return "Misdirected Request";
        case 422: return "Unprocessable Content";
        case 429: return "Too Many Requests";
        case 431: return "Request Header Fields Too Large";
        case 500: return "Internal Server Error";
        case 501: return "Not Implemented";
        case 502: return "Bad Gateway";
        case 503: return "Service Unavailable";
        case 504: return "Gateway Timeout";
        case 505: return "HTTP Version Not Supported";
        default: return "Unknown";
    }
}

}  // namespace hearth
