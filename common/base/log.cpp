// One line per event on stderr: formats it, cuts it to what a pipe takes whole, never waits long.
#include "common/base/log.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <mutex>

#include "common/base/char_classes.h"
#include "common/base/clock.h"
#include "common/base/small_copy.h"

namespace hearth::log {
namespace {

std::atomic<Level> g_level{Level::kInfo};
std::atomic<bool> g_json{false};
std::string g_program = "hearth";  // Set before threads start, read-only afterwards.
std::mutex g_write_mutex;
// Under g_write_mutex:
std::uint64_t g_dropped = 0;       // Lines since the last one that was written.
std::string g_batch;               // Whole lines that wait for flush().
std::uint64_t g_batch_lines = 0;   // In it.
std::function<void()> g_schedule;  // Has flush() called soon; none = each line is written at once.
bool g_is_file = false;            // Stderr then: always ready, and takes any piece whole.

constexpr std::array<const char*, 4> kNames = {"debug", "info", "warn", "error"};
constexpr std::size_t kTextBytesMax = 1'000;
constexpr std::size_t kLineBytesMax = PIPE_BUF;   // A pipe takes so much in one piece (POSIX).
constexpr std::size_t kFileBytesMax = 16 * 1024;  // In one piece, into a file.
constexpr std::size_t kEndBytes = 64;             // Kept free for cut, dropped and the line's end.
constexpr int kWaitMs = 20;                       // For a reader that is a little late.

// The text of a whole second is kept: a busy program writes thousands of lines in each.
std::string_view timestamp(UnixMs now) {
    thread_local std::time_t known = -1;
    thread_local char text[40];
    thread_local std::size_t size = 0;
    const std::time_t whole = now / 1000;
    if (whole != known) {
        known = whole;
        std::tm parts{};
        gmtime_r(&whole, &parts);
        size = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S.000Z", &parts);
    }
    for (int digit = 0, rest = static_cast<int>(now % 1000); digit < 3; ++digit, rest /= 10)
        text[size - 2 - static_cast<std::size_t>(digit)] = static_cast<char>('0' + rest % 10);
    return {text, size};
}

// Bytes of the UTF-8 character that `text` begins with (RFC 3629), 0 if it is malformed.
std::size_t character_bytes(std::string_view text) {
    const auto at = [&text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = at(0);
    if (first < 0x80) return 1;
    const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
    for (std::size_t i = 1; i < size; ++i)
        if ((at(i) & 0xc0) != 0x80) return 0;
    // Overlong forms, surrogates, and what lies beyond U+10FFFF.
    if ((first == 0xe0 && at(1) < 0xa0) || (first == 0xed && at(1) > 0x9f)) return 0;
    if ((first == 0xf0 && at(1) < 0x90) || (first == 0xf4 && at(1) > 0x8f)) return 0;
    return size;
}

// Character classes, one bit each. Nearly every text is of one of them.
constexpr unsigned char kPlain = 1;  // Printable ASCII without what JSON escapes.
constexpr unsigned char kBare = 2;   // The same without space and '=': needs no quotes.

constexpr CharClasses make_classes() {
    CharClasses classes{};
    for (std::size_t c = 0x20; c < 0x7f; ++c) {
        if (c == '"' || c == '\\') continue;
        classes[c] = c == ' ' || c == '=' ? kPlain : kPlain | kBare;
    }
    return classes;
}
constexpr CharClasses kClasses = make_classes();

// A line being made. Pieces are put at a cursor that is passed on by value: what is kept in memory
// would be read again after each byte written.
struct Line {
    std::size_t size = 0;
    char bytes[kLineBytesMax + 2 * kTextBytesMax];
};

char* put(char* to, std::string_view text) {
    return copy_small(to, text);
}
template <typename T>
char* put_number(char* to, T value) {
    constexpr std::size_t kDigitsMax = 32;
    return std::to_chars(to, to + kDigitsMax, value).ptr;
}

// What escaping adds to a text that is cut at kTextBytesMax: one escape, the dots, the quotes.
constexpr std::size_t kTextRoom = kTextBytesMax + 16;

// As inside a JSON string; key=value lines use the same escapes.
char* put_escaped(char* to, std::string_view value) {
    const char* const start = to;
    while (!value.empty()) {
        if (to - start >= static_cast<std::ptrdiff_t>(kTextBytesMax)) return put(to, "...");
        const std::size_t size = character_bytes(value);
        const auto byte = static_cast<unsigned char>(value[0]);
        if (size == 0) {
            to = put(to, "\\ufffd");
        } else if (byte == '"' || byte == '\\') {
            *to++ = '\\';
            *to++ = value[0];
        } else if (byte == '\n') {
            to = put(to, "\\n");
        } else if (byte < 0x20 || byte == 0x7f) {
            char text[8];
            std::snprintf(text, sizeof(text), "\\u%04x", byte);
            to = put(to, text);
        } else {
            to = put(to, value.substr(0, size));
        }
        value.remove_prefix(size == 0 ? 1 : size);
    }
    return to;
}

// The classes that all of a text shares. Most bytes of a line are in ids and paths, and are looked
// at 16 at a time.
unsigned char classes_of(std::string_view text) {
    using Bytes = signed char __attribute__((vector_size(16)));
    if (text.size() < sizeof(Bytes)) return shared_classes(text, kClasses, kPlain | kBare);
    const auto filled = [](char c) { return Bytes{} + static_cast<signed char>(c); };
    Bytes bad{};
    const auto look_at = [&](const char* from) {
        Bytes bytes;
        std::memcpy(&bytes, from, sizeof bytes);
        // Of signed bytes those beyond ASCII are below all others.
        bad |= (bytes < filled('!')) | (bytes == filled('"')) | (bytes == filled('=')) |
               (bytes == filled('\\')) | (bytes == filled('\x7f'));
    };
    const char* const last = text.data() + text.size() - sizeof(Bytes);
    for (const char* at = text.data(); at < last; at += sizeof(Bytes)) look_at(at);
    look_at(last);
    std::uint64_t halves[2];
    std::memcpy(halves, &bad, sizeof halves);
    if ((halves[0] | halves[1]) == 0) return kPlain | kBare;
    return shared_classes(text, kClasses, kPlain | kBare);
}

char* put_text(char* to, std::string_view value, bool json) {
    const unsigned char classes = classes_of(value);
    const bool quote = json || value.empty() || (classes & kBare) == 0;
    const bool is_plain = (classes & kPlain) != 0 && value.size() <= kTextBytesMax;
    if (quote) *to++ = '"';
    to = is_plain ? put(to, value) : put_escaped(to, value);
    if (quote) *to++ = '"';
    return to;
}

// Most are times of a few digits, for which this is many times quicker than the general way, and
// the same text.
char* put_real(char* to, double value) {
    constexpr double kBound = 1e5;
    if (value < 0 || value >= kBound) return put_number(to, value);
    const auto thousandths = static_cast<std::int64_t>(value * 1e3 + 0.5);
    if (static_cast<double>(thousandths) / 1e3 != value) return put_number(to, value);
    to = put_number(to, thousandths / 1000);
    std::int64_t rest = thousandths % 1000;
    if (rest == 0) return to;
    *to++ = '.';
    for (std::int64_t unit = 100; rest > 0; rest %= unit, unit /= 10)
        *to++ = static_cast<char>('0' + rest / unit);
    return to;
}

char* put_value(char* to, const Field& field, bool json) {
    if (const auto* text = std::get_if<std::string_view>(&field.value))
        return put_text(to, *text, json);
    if (const auto* truth = std::get_if<bool>(&field.value))
        return put(to, *truth ? "true" : "false");
    if (const auto* number = std::get_if<std::int64_t>(&field.value))
        return put_number(to, *number);
    if (const auto* count = std::get_if<std::uint64_t>(&field.value)) return put_number(to, *count);
    const double real = std::get<double>(field.value);
    if (std::isfinite(real)) return put_real(to, real);
    // JSON has no word for these as numbers.
    return put_text(to, std::isnan(real) ? "nan" : real > 0 ? "inf" : "-inf", json);
}

// Appends the field, or nothing and false if the line would grow beyond its limit.
bool append(Line& line, const Field& field, bool json, std::size_t bytes_max) {
    if (field.key.size() + kTextRoom > sizeof line.bytes - line.size) return false;
    char* to = line.bytes + line.size;
    if (line.size > (json ? 1u : 0u)) *to++ = json ? ',' : ' ';
    if (json) *to++ = '"';
    to = put(to, field.key);
    if (json) *to++ = '"';
    *to++ = json ? ':' : '=';
    to = put_value(to, field, json);
    const auto size = static_cast<std::size_t>(to - line.bytes);
    if (size > bytes_max) return false;
    line.size = size;
    return true;
}

// Ready means that a pipe has room for PIPE_BUF bytes, so the write will not block. A pipe without
// a reader is an error: writing to it would raise SIGPIPE.
bool is_ready() {
    if (g_is_file) return true;
    pollfd stderr_file = {STDERR_FILENO, POLLOUT, 0};
    const int ready = ::poll(&stderr_file, 1, g_dropped == 0 ? kWaitMs : 0);
    const bool broken = (stderr_file.revents & (POLLERR | POLLNVAL)) != 0;
    return ready == 1 && !broken;
}

// Caller holds the mutex. Lines that cannot be written are dropped and counted.
void write_batch() {
    if (g_batch_lines == 0) return;
    if (is_ready() && ::write(STDERR_FILENO, g_batch.data(), g_batch.size()) >= 0)
        g_dropped = 0;
    else
        g_dropped += g_batch_lines;
    g_batch.clear();
    g_batch_lines = 0;
}

// Caller holds the mutex. True if somebody has to be told to flush.
bool add_line(Line& line, bool json, bool urgent) {
    if (g_batch_lines == 0 && g_dropped > 0)
        append(line, {"dropped", g_dropped}, json, kLineBytesMax - 2);
    if (json) line.bytes[line.size++] = '}';
    line.bytes[line.size++] = '\n';
    if (g_batch.size() + line.size > (g_is_file ? kFileBytesMax : kLineBytesMax)) write_batch();
    g_batch.append(line.bytes, line.size);
    ++g_batch_lines;
    if (urgent || !g_schedule) write_batch();
    return g_batch_lines == 1;
}

}  // namespace

void set_level(Level level) {
    g_level.store(level);
}

Level level() {
    return g_level.load();
}

const char* to_string(Level level) {
    return kNames[static_cast<std::size_t>(level)];
}

bool set_level(std::string_view name) {
    for (std::size_t i = 0; i < kNames.size(); ++i)
        if (name == kNames[i]) {
            set_level(static_cast<Level>(i));
            return true;
        }
    return false;
}

void set_json(bool json) {
    g_json.store(json);
}

void set_program(std::string_view name) {
    g_program = name;
}

void write(Level level, std::string_view event, Fields fields) {
    if (level < g_level.load(std::memory_order_relaxed)) return;
    const bool json = g_json.load(std::memory_order_relaxed);
    thread_local Line line;
    line.size = 0;
    if (json) line.bytes[line.size++] = '{';
    bool whole = true;
    const auto add = [&](const Field& field) {
        whole = append(line, field, json, kLineBytesMax - kEndBytes) && whole;
    };
    add({"ts", timestamp(SystemClock::instance().coarse_unix_now())});
    add({"level", kNames[static_cast<std::size_t>(level)]});
    add({"program", g_program});
    add({"event", event});
    for (const Field& field : fields) add(field);
    if (!whole) append(line, {"cut", true}, json, kLineBytesMax);
    const std::lock_guard lock(g_write_mutex);
    if (add_line(line, json, level >= Level::kWarn) && g_schedule) g_schedule();
}

void batch(std::function<void()> schedule) {
    const std::lock_guard lock(g_write_mutex);
    write_batch();
    g_schedule = std::move(schedule);
    struct stat facts = {};
    g_is_file = g_schedule && ::fstat(STDERR_FILENO, &facts) == 0 && S_ISREG(facts.st_mode);
}

void flush() {
    const std::lock_guard lock(g_write_mutex);
    write_batch();
}

}  // namespace hearth::log
