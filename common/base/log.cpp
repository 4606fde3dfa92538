// One line per event on stderr: formats it, cuts it to what a pipe takes whole, never waits long.
#include "common/base/log.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <climits>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <mutex>

#include "common/base/clock.h"

namespace hearth::log {
namespace {

std::atomic<Level> g_level{Level::kInfo};
std::atomic<bool> g_json{false};
std::string g_program = "hearth";  // Set before threads start, read-only afterwards.
std::mutex g_write_mutex;
std::uint64_t g_dropped = 0;  // Lines since the last one that was written; under g_write_mutex.

constexpr std::array<const char*, 4> kNames = {"debug", "info", "warn", "error"};
constexpr std::size_t kTextBytesMax = 1'000;
constexpr std::size_t kLineBytesMax = PIPE_BUF;  // A pipe takes so much in one piece (POSIX).
constexpr std::size_t kEndBytes = 64;            // Kept free for cut, dropped and the line's end.
constexpr int kWaitMs = 20;                      // For a reader that is a little late.

std::string timestamp(UnixMs now) {
    const std::time_t whole = now / 1000;
    std::tm parts{};
    gmtime_r(&whole, &parts);
    char text[40];
    const std::size_t n = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    std::snprintf(text + n, sizeof(text) - n, ".%03dZ", static_cast<int>(now % 1000));
    return text;
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

// As inside a JSON string; key=value lines use the same escapes.
void append_escaped(std::string& out, std::string_view value) {
    const std::size_t start = out.size();
    while (!value.empty()) {
        if (out.size() - start >= kTextBytesMax) {
            out += "...";
            return;
        }
        const std::size_t size = character_bytes(value);
        const auto byte = static_cast<unsigned char>(value[0]);
        if (size == 0) {
            out += "\\ufffd";
        } else if (byte == '"' || byte == '\\') {
            out += '\\';
            out += value[0];
        } else if (byte == '\n') {
            out += "\\n";
        } else if (byte < 0x20 || byte == 0x7f) {
            char text[8];
            std::snprintf(text, sizeof(text), "\\u%04x", byte);
            out += text;
        } else {
            out += value.substr(0, size);
        }
        value.remove_prefix(size == 0 ? 1 : size);
    }
}

bool needs_quotes(std::string_view value) {
    if (value.empty()) return true;
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte >= 0x7f || c == '"' || c == '=' || c == '\\') return true;
    }
    return false;
}

void append_text(std::string& out, std::string_view value, bool json) {
    const bool quote = json || needs_quotes(value);
    if (quote) out += '"';
    append_escaped(out, value);
    if (quote) out += '"';
}

template <typename T>
void append_number(std::string& out, T value) {
    char text[32];
    out.append(text, std::to_chars(text, text + sizeof(text), value).ptr);
}

void append_value(std::string& out, const Field& field, bool json) {
    if (const auto* text = std::get_if<std::string_view>(&field.value))
        append_text(out, *text, json);
    else if (const auto* truth = std::get_if<bool>(&field.value))
        out += *truth ? "true" : "false";
    else if (const auto* number = std::get_if<std::int64_t>(&field.value))
        append_number(out, *number);
    else if (const auto* count = std::get_if<std::uint64_t>(&field.value))
        append_number(out, *count);
    else if (const double real = std::get<double>(field.value); std::isfinite(real))
        append_number(out, real);
    else  // JSON has no word for these as numbers.
        append_text(out, std::isnan(real) ? "nan" : real > 0 ? "inf" : "-inf", json);
}

// Appends the field, or nothing and false if the line would grow beyond its limit.
bool append(std::string& line, const Field& field, bool json, std::size_t bytes_max) {
    const std::size_t before = line.size();
    if (before > (json ? 1u : 0u)) line += json ? ',' : ' ';
    if (json) line += '"';
    line += field.key;
    line += json ? "\":" : "=";
    append_value(line, field, json);
    if (line.size() <= bytes_max) return true;
    line.resize(before);
    return false;
}

// Caller holds the mutex. A line that cannot be written is dropped and counted.
void write_line(std::string& line, bool json) {
    if (g_dropped > 0) append(line, {"dropped", g_dropped}, json, kLineBytesMax - 2);
    line += json ? "}\n" : "\n";
    // Ready means that a pipe has room for PIPE_BUF bytes, so the write will not block. A pipe
    // without a reader is an error: writing to it would raise SIGPIPE.
    pollfd stderr_file = {STDERR_FILENO, POLLOUT, 0};
    const int ready = ::poll(&stderr_file, 1, g_dropped == 0 ? kWaitMs : 0);
    const bool broken = (stderr_file.revents & (POLLERR | POLLNVAL)) != 0;
    if (ready == 1 && !broken && ::write(STDERR_FILENO, line.data(), line.size()) >= 0)
        g_dropped = 0;
    else
        ++g_dropped;
}

}  // namespace

void set_level(Level level) {
    g_level.store(level);
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
    const std::string now = timestamp(SystemClock::instance().unix_now());
    const Fields head = {{"ts", now},
                         {"level", kNames[static_cast<std::size_t>(level)]},
                         {"program", g_program},
                         {"event", event}};
    std::string line = json ? "{" : "";
    bool whole = true;
    for (const Fields& part : {head, fields})
        for (const Field& field : part)
            whole = append(line, field, json, kLineBytesMax - kEndBytes) && whole;
    if (!whole) append(line, {"cut", true}, json, kLineBytesMax);
    const std::lock_guard lock(g_write_mutex);
    write_line(line, json);
}

}  // namespace hearth::log
