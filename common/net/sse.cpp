// SseReader: splits lines at LF, CR LF or CR wherever the pieces were cut.
#include "common/net/sse.h"

namespace hearth {

void SseReader::feed(std::string_view bytes, const std::function<void(std::string_view)>& on_data) {
    while (!bytes.empty() && !broken_) {
        if (after_cr_) {
            after_cr_ = false;
            if (bytes.front() == '\n') {
                bytes.remove_prefix(1);
                continue;
            }
        }
        const std::size_t end = bytes.find_first_of("\r\n");
        line_.append(bytes.substr(0, end));
        broken_ = line_.size() + data_.size() > kEventBytesMax;
        if (end == std::string_view::npos || broken_) return;
        after_cr_ = bytes[end] == '\r';
        bytes.remove_prefix(end + 1);
        end_line(on_data);
    }
}

void SseReader::end_line(const std::function<void(std::string_view)>& on_data) {
    if (line_.empty()) {
        if (has_data_) on_data(data_);
        data_.clear();
        has_data_ = false;
        return;
    }
    const std::string_view line = line_;
    const std::size_t colon = line.find(':');
    if (line.substr(0, colon) == "data") {
        std::string_view value;
        if (colon != std::string_view::npos) value = line.substr(colon + 1);
        if (value.starts_with(' ')) value.remove_prefix(1);
        if (has_data_) data_.push_back('\n');
        data_.append(value);
        has_data_ = true;
    }
    line_.clear();
}

}  // namespace hearth
