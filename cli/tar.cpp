// Headers of 512 bytes, contents padded to 512, two empty blocks at the end (POSIX.1-1988, ustar).
#include "cli/tar.h"

#include <cstring>

#include "common/base/check.h"

namespace hearth::cli {
namespace {

constexpr std::size_t kBlock = 512;

// A number in octal digits that fill the field up to its last byte, which stays NUL.
void octal(char* field, std::size_t width, std::uint64_t value) {
    for (std::size_t i = width - 1; i-- > 0; value /= 8)
        field[i] = static_cast<char>('0' + value % 8);
}

std::string header(const TarEntry& entry, std::int64_t unix_seconds) {
    CHECK(entry.name.size() <= 100);
    std::string block(kBlock, '\0');
    char* const at = block.data();
    std::memcpy(at, entry.name.data(), entry.name.size());
    octal(at + 100, 8, 0600);
    octal(at + 108, 8, 0);
    octal(at + 116, 8, 0);
    octal(at + 124, 12, entry.content.size());
    octal(at + 136, 12, static_cast<std::uint64_t>(unix_seconds));
    std::memset(at + 148, ' ', 8);  // The checksum counts itself as spaces.
    at[156] = '0';
    std::memcpy(at + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    octal(at + 148, 7, sum);
    return block;
}

}  // namespace

std::string tar_of(const std::vector<TarEntry>& entries, std::int64_t unix_seconds) {
    std::string out;
    for (const TarEntry& entry : entries) {
        out += header(entry, unix_seconds) + entry.content;
        out.resize((out.size() + kBlock - 1) / kBlock * kBlock, '\0');
    }
    return out + std::string(2 * kBlock, '\0');
}

}  // namespace hearth::cli
