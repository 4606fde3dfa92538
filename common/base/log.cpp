// One line per event on stderr: key=value or JSON, written with a single write so that lines stay
// whole.
#include "common/base/log.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <ctime>

#include "common/base/clock.h"

namespace hearth::log {
namespace {

std::atomic<Level> g_level{Level::kInfo};
std::atomic<bool> g_json{false};
std::string g_program = "hearth";  // Set before threads start, read-only afterwards.

constexpr std::array<const char*, 4> kNames = {"debug", "info", "warn", "error"};

std::string timestamp(UnixMs now) {
    const std::time_t whole = now / 1000;
    std::tm parts{};
    gmtime_r(&whole, &parts);
    char text[40];
    const std::size_t n = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    std::snprintf(text + n, sizeof(text) - n, ".%03dZ", static_cast<int>(now % 1000));
    return text;
}

void append_escaped(std::string& out, std::string_view value) {
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else if (byte < 0x20 || byte == 0x7f) {
            char text[8];
            std::snprintf(text, sizeof(text), "\\u%04x", byte);
            out += text;
        } else {
            out += c;
        }
    }
}

bool needs_quotes(std::string_view value) {
    if (value.empty()) return true;
    for (const char c : value)
        if (static_cast<unsigned char>(c) <= 0x20 || c == '"' || c == '=' || c == '\\' || c == 0x7f)
            return true;
    return false;
}

void append_pair(std::string& out, std::string_view key, std::string_view value, bool json) {
    if (json) {
        out += out.size() > 1 ? ",\"" : "\"";
        out += key;
        out += "\":\"";
        append_escaped(out, value);
        out += '"';
        return;
    }
    if (!out.empty()) out += ' ';
    out += key;
    out += '=';
    const bool quote = needs_quotes(value);
    if (quote) out += '"';
    append_escaped(out, value);
    if (quote) out += '"';
}

}  // namespace

Field::Field(std::string_view k, double v) : key(k) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.6g", v);
    value = text;
}

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

void write(Level level, std::string_view event, std::initializer_list<Field> fields) {
    if (level < g_level.load(std::memory_order_relaxed)) return;
    const bool json = g_json.load(std::memory_order_relaxed);
    std::string line = json ? "{" : "";
    append_pair(line, "ts", timestamp(SystemClock::instance().unix_now()), json);
    append_pair(line, "level", kNames[static_cast<std::size_t>(level)], json);
    append_pair(line, "program", g_program, json);
    append_pair(line, "event", event, json);
    for (const Field& field : fields) append_pair(line, field.key, field.value, json);
    line += json ? "}\n" : "\n";
    // A log that cannot be written must not stop the program.
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace hearth::log
