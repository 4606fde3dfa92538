// log: one line of key=value (or JSON) per event on stderr. Never prompts, raw keys or secrets.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

namespace hearth::log {

enum class Level { kDebug, kInfo, kWarn, kError };

// A view of its value, so that a filtered line costs no formatting: use it within one call only.
struct Field {
    std::string_view key;
    std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool> value;
    Field(std::string_view k, std::string_view v) : key(k), value(v) {}
    Field(std::string_view k, const char* v) : key(k), value(std::string_view(v)) {}
    Field(std::string_view k, const std::string& v) : key(k), value(std::string_view(v)) {}
    Field(std::string_view k, double v) : key(k), value(v) {}
    Field(std::string_view k, bool v) : key(k), value(v) {}
    template <std::signed_integral T>
    Field(std::string_view k, T v) : key(k), value(static_cast<std::int64_t>(v)) {}
    template <std::unsigned_integral T>
    Field(std::string_view k, T v) : key(k), value(static_cast<std::uint64_t>(v)) {}
};

using Fields = std::initializer_list<Field>;

void set_level(Level level);  // Any thread, any time.
Level level();
const char* to_string(Level level);
bool set_level(std::string_view name);  // debug, info, warn, error; false if unknown.
void set_json(bool json);
void set_program(std::string_view name);  // Printed as program=...; before threads start.

// For an event loop: lines up to info are gathered until flush(), which `schedule` has called soon
// (it must not log). Warnings and errors leave at once, with what was gathered before them. Null:
// flushes, and each line is written at once again, as at the start.
void batch(std::function<void()> schedule);
void flush();

// ts=2026-01-01T00:00:00.000Z level=info program=hearth-router event="node joined" node=a
// Any thread. A write(2) takes whole lines of at most 4,096 bytes together, so that those of
// several processes on one pipe stay whole (of 16 KiB where batch() finds a file); longer texts are
// cut. While nobody reads the pipe,
// lines are dropped rather than stopping the program, and the next one that gets through says how
// many (dropped=N).
void write(Level level, std::string_view event, Fields fields = {});
inline void debug(std::string_view e, Fields f = {}) {
    write(Level::kDebug, e, f);
}
inline void info(std::string_view e, Fields f = {}) {
    write(Level::kInfo, e, f);
}
inline void warn(std::string_view e, Fields f = {}) {
    write(Level::kWarn, e, f);
}
inline void error(std::string_view e, Fields f = {}) {
    write(Level::kError, e, f);
}

}  // namespace hearth::log
