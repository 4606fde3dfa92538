// log: one line of key=value (or JSON) per event on stderr. Never prompts, raw keys or secrets.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace hearth::log {

enum class Level { kDebug, kInfo, kWarn, kError };

struct Field {
    std::string_view key;
    std::string value;
    Field(std::string_view k, std::string_view v) : key(k), value(v) {}
    Field(std::string_view k, const char* v) : key(k), value(v) {}
    Field(std::string_view k, const std::string& v) : key(k), value(v) {}
    Field(std::string_view k, double v);
    template <typename T>
        requires std::is_integral_v<T>
    Field(std::string_view k, T v) : key(k), value(std::to_string(v)) {}
};

void set_level(Level level);                 // Any thread, any time.
bool set_level(std::string_view name);       // debug, info, warn, error; false if unknown.
void set_json(bool json);
void set_program(std::string_view name);     // Printed as program=...; before threads start.

// ts=2026-01-01T00:00:00.000Z level=info program=hearth-router event="node joined" node=a
void write(Level level, std::string_view event, std::initializer_list<Field> fields = {});
inline void debug(std::string_view e, std::initializer_list<Field> f = {}) { write(Level::kDebug, e, f); }
inline void info(std::string_view e, std::initializer_list<Field> f = {}) { write(Level::kInfo, e, f); }
inline void warn(std::string_view e, std::initializer_list<Field> f = {}) { write(Level::kWarn, e, f); }
inline void error(std::string_view e, std::initializer_list<Field> f = {}) { write(Level::kError, e, f); }

}  // namespace hearth::log
