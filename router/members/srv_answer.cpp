// A reader of DNS messages that believes no length and follows no pointer forward.
#include "router/members/srv_answer.h"

#include <algorithm>

namespace hearth {
namespace {

constexpr std::size_t kHeaderBytes = 12;
constexpr std::size_t kNameBytesMax = 255;
constexpr std::uint16_t kSrv = 33;

class Message {
  public:
    explicit Message(std::string_view bytes) : bytes_(bytes) {}

    bool good() const { return good_; }
    std::size_t at() const { return at_; }
    void go(std::size_t at) {
        good_ = good_ && at <= bytes_.size();
        at_ = at;
    }
    unsigned byte() {
        if (!good_ || at_ >= bytes_.size()) {
            good_ = false;
            return 0;
        }
        return static_cast<unsigned char>(bytes_[at_++]);
    }
    std::uint16_t number() {
        const unsigned high = byte();
        return static_cast<std::uint16_t>(high << 8 | byte());
    }
    // A domain name; compressed parts lie before the place that points to them, so it ends.
    std::string name() {
        std::string out;
        std::size_t after = 0, limit = at_;
        while (good_) {
            const unsigned length = byte();
            if (length == 0) break;
            if (length >= 0xc0) {
                const std::size_t target = (length & 0x3f) << 8 | byte();
                if (after == 0) after = at_;
                good_ = good_ && target < limit;
                limit = target;
                at_ = target;
                continue;
            }
            good_ = good_ && length < 0x40 && out.size() + length + 1 <= kNameBytesMax;
            if (!out.empty()) out += '.';
            for (unsigned i = 0; i < length && good_; ++i) out += lower(byte());
        }
        if (after != 0) at_ = after;
        return out;
    }

  private:
    // Names go into logs and labels: what no host name has is a fault.
    char lower(unsigned c) {
        if (c >= 'A' && c <= 'Z') return static_cast<char>(c + 32);
        good_ = good_ && ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_');
        return static_cast<char>(c);
    }

    std::string_view bytes_;
    std::size_t at_ = 0;
    bool good_ = true;
};

Error corrupt() {
    return make_error(ErrorCode::kCorrupt, "the DNS answer is malformed");
}

}  // namespace

Result<std::vector<SrvRecord>> srv_records_from(std::string_view bytes) {
    if (bytes.size() < kHeaderBytes) return corrupt();
    Message message(bytes);
    message.go(2);
    const std::uint16_t flags = message.number();
    const std::uint16_t questions = message.number(), answers = message.number();
    if ((flags & 0x8000) == 0) return corrupt();
    if ((flags & 0x0200) != 0) return make_error(ErrorCode::kUnavailable, "truncated DNS answer");
    const unsigned code = flags & 15;
    if (code != 0)
        return make_error(code == 3 ? ErrorCode::kNotFound : ErrorCode::kUnavailable,
                          "DNS answers with code " + std::to_string(code));
    message.go(kHeaderBytes);
    for (int i = 0; i < questions && message.good(); ++i) {
        message.name();
        message.go(message.at() + 4);
    }
    std::vector<SrvRecord> found;
    for (int i = 0; i < answers && message.good(); ++i) {
        message.name();
        const std::uint16_t type = message.number();
        message.go(message.at() + 6);  // Class and time to live.
        const std::size_t length = message.number(), end = message.at() + length;
        if (type == kSrv) {
            SrvRecord record;
            record.priority = message.number();
            record.weight = message.number();
            record.port = message.number();
            record.target = message.name();
            if (message.at() != end) return corrupt();
            // A lone dot says that the service is not offered here.
            if (!record.target.empty() && record.port != 0) found.push_back(std::move(record));
        }
        message.go(end);
    }
    if (!message.good()) return corrupt();
    if (found.empty()) return make_error(ErrorCode::kNotFound, "no SRV records");
    const auto best =
        std::min_element(found.begin(), found.end(), [](const auto& a, const auto& b) {
            return a.priority < b.priority;
        })->priority;
    std::erase_if(found, [best](const SrvRecord& record) { return record.priority != best; });
    return found;
}

}  // namespace hearth
