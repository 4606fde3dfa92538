// NFC over utf8proc's tables: decompose, put marks in order, compose. The order is sorted here, as
// utf8proc's own takes quadratic time where somebody writes a page of combining marks.
#include "engine/text/normalize.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

#include "common/base/check.h"
#include "engine/text/utf8.h"

namespace hearth::engine {
namespace {

using Codes = std::vector<utf8proc_int32_t>;

void append_decomposed(char32_t rune, Codes& out) {
    constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE);
    std::array<utf8proc_int32_t, 32> codes;  // The longest canonical decomposition has four.
    int boundary = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(rune), codes.data(),
                                               codes.size(), kOptions, &boundary);
    CHECK(count > 0 && static_cast<std::size_t>(count) <= codes.size());
    out.insert(out.end(), codes.begin(), codes.begin() + count);
}

int combining_class(utf8proc_int32_t code) {
    return utf8proc_get_property(code)->combining_class;
}

// Marks between two starters, by class; equal ones keep their order.
void sort_marks(Codes& codes) {
    auto begin = codes.begin();
    while (begin != codes.end()) {
        if (combining_class(*begin) == 0) {
            ++begin;
            continue;
        }
        const auto end =
            std::find_if(begin, codes.end(), [](auto code) { return combining_class(code) == 0; });
        std::stable_sort(begin, end,
                         [](auto a, auto b) { return combining_class(a) < combining_class(b); });
        begin = end;
    }
}

void append_utf8(utf8proc_int32_t code, std::string& out) {
    std::array<utf8proc_uint8_t, 4> bytes;
    const auto size = utf8proc_encode_char(code, bytes.data());
    out.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(size));
}

void flush(Codes& codes, std::string& out) {
    if (codes.empty()) return;
    sort_marks(codes);
    constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    const auto count = utf8proc_normalize_utf32(
        codes.data(), static_cast<utf8proc_ssize_t>(codes.size()), kOptions);
    CHECK(count >= 0);
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) append_utf8(codes[i], out);
    codes.clear();
}

}  // namespace

std::string nfc(std::string_view text) {
    // Nothing below U+0300 changes, and those have lead bytes below 0xCC.
    const bool plain = std::all_of(text.begin(), text.end(),
                                   [](char c) { return static_cast<unsigned char>(c) < 0xCC; });
    if (plain) return std::string(text);
    std::string out;
    Codes codes;
    while (!text.empty()) {
        const Utf8Step step = next_rune(text);
        const bool valid = step.kind == Utf8Step::Kind::kRune;
        const std::size_t length = valid ? step.length : 1;
        if (valid) {
            append_decomposed(step.rune, codes);
        } else {
            flush(codes, out);
            out.append(text.substr(0, length));
        }
        text.remove_prefix(length);
    }
    flush(codes, out);
    return out;
}

}  // namespace hearth::engine
