// SseReader: takes the `data` of server-sent events out of a byte stream, piece by piece.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace hearth {

// Follows the WHATWG "server-sent events" rules as far as a chat client needs them: lines end with
// LF, CR LF or CR; several data lines are joined by LF; comments and other fields are dropped; an
// event that its empty line does not end is not delivered. Owned by one reader.
class SseReader {
  public:
    static constexpr std::size_t kEventBytesMax = 16 * 1024 * 1024;

    // Calls `on_data` for each event that ends within `bytes`; the view is valid during the call.
    void feed(std::string_view bytes, const std::function<void(std::string_view)>& on_data);

    // An event was larger than kEventBytesMax; the reader delivers nothing more.
    bool broken() const { return broken_; }

  private:
    void end_line(const std::function<void(std::string_view)>& on_data);

    std::string line_;
    std::string data_;
    bool has_data_ = false;
    bool after_cr_ = false;  // An LF that comes next belongs to the line end already seen.
    bool broken_ = false;
};

}  // namespace hearth
