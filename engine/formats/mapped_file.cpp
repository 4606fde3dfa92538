// Maps a file with mmap; the kernel is told that it will be read from front to back.
#include "engine/formats/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/formats/fault.h"

namespace hearth::engine {

namespace {

Error system_fault(const std::string& path, const char* call) {
    const int cause = errno;
    const bool absent = cause == ENOENT || cause == ENOTDIR;
    return fault(absent ? ErrorCode::kNotFound : ErrorCode::kUnavailable, path,
                 std::string("cannot ") + call + ": " + std::strerror(cause));
}

// The descriptor is needed only until the mapping exists.
class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    int get() const { return fd_; }

  private:
    int fd_;
};

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
    // Non-blocking, so that a path that names a pipe is refused below instead of waiting for it.
    const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (fd.get() < 0) return system_fault(path, "open");
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) return system_fault(path, "stat");
    if (!S_ISREG(status.st_mode))
        return fault(ErrorCode::kInvalidArgument, path, "not a plain file");
    const auto size = static_cast<std::size_t>(status.st_size);
    if (size == 0) return MappedFile(path, nullptr, 0);  // mmap refuses empty mappings.
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (data == MAP_FAILED) return system_fault(path, "map");
    ::madvise(data, size, MADV_SEQUENTIAL);  // A hint; failure costs only speed.
    return MappedFile(path, static_cast<const std::byte*>(data), size);
}

MappedFile::MappedFile(std::string path, const std::byte* data, std::size_t size)
    : path_(std::move(path)), data_(data), size_(size) {}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

MappedFile::~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace hearth::engine
