// MappedFile: a whole file as read-only memory, unmapped when it goes.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "common/base/result.h"

namespace hearth::engine {

// Owns the mapping; views of bytes() die with it. Any thread may read. The bytes are what the file
// held at open as long as nobody truncates it: a reader of a shrunken file gets SIGBUS, so model
// files are to be replaced (renamed over), never rewritten in place.
class MappedFile {
  public:
    // kNotFound: no such file. kUnavailable: cannot be read. kInvalidArgument: not a plain file.
    static Result<MappedFile> open(const std::string& path);

    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    ~MappedFile();

    std::span<const std::byte> bytes() const { return {data_, size_}; }
    const std::string& path() const { return path_; }

  private:
    MappedFile(std::string path, const std::byte* data, std::size_t size);

    std::string path_;
    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace hearth::engine
