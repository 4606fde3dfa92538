// CHECK: our own bugs abort loudly, with file, line and the condition that did not hold.
#pragma once

#include <string_view>

namespace hearth {

[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               std::string_view detail);

}  // namespace hearth

#define CHECK(condition)                                                \
    do {                                                                \
        if (!(condition)) [[unlikely]]                                  \
            ::hearth::check_failed(__FILE__, __LINE__, #condition, {}); \
    } while (false)

#define CHECK_MSG(condition, detail)                                          \
    do {                                                                      \
        if (!(condition)) [[unlikely]]                                        \
            ::hearth::check_failed(__FILE__, __LINE__, #condition, (detail)); \
    } while (false)
