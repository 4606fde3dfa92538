// Cuts streams of events at line ends (any server's) and at event ends (our nodes').
#include "router/relay/stream_gate.h"

#include <algorithm>

#include "common/wire/headers.h"

namespace hearth {

void LineGate::note(std::string_view passed) {
    constexpr std::size_t kLastBytes = 16;
    if (passed.empty()) return;
    last_.append(passed.substr(passed.size() - std::min(passed.size(), kLastBytes)));
    if (last_.size() > kLastBytes) last_.erase(0, last_.size() - kLastBytes);
    in_line_ = last_.back() != '\n' && last_.back() != '\r';
}

std::string_view LineGate::take(std::string_view piece) {
    const std::size_t end = piece.find_last_of("\n\r");
    if (end == std::string_view::npos && held_.size() + piece.size() <= kHeldBytesMax) {
        held_.append(piece);
        return {};
    }
    const std::size_t passed = end == std::string_view::npos ? piece.size() : end + 1;
    std::string_view out = piece.substr(0, passed);
    if (!held_.empty()) {
        out_.swap(held_);
        out_.append(out);
        out = out_;
    }
    held_.assign(piece.substr(passed));
    note(out);
    return out;
}

bool LineGate::at_event_end() const {
    const std::string_view last = last_;
    return last.empty() || last.ends_with("\n\n") || last.ends_with("\n\r\n") ||
           last.ends_with("\r\r");
}

bool LineGate::is_done() const {
    const std::size_t end = last_.find_last_not_of("\r\n");
    return end != std::string::npos && last_.substr(0, end + 1).ends_with("[DONE]");
}

void Continuation::begin(std::string_view turn) {
    turn_ = turn;
    held_.clear();
    end_ = End::kNone;
}

std::string_view Continuation::take(std::string_view piece) {
    out_.clear();
    const bool joined = !held_.empty();
    if (joined) held_.append(piece);
    std::string_view rest = joined ? std::string_view(held_) : piece;
    while (end_ == End::kNone) {
        const std::size_t end = rest.find("\n\n");
        if (rest.starts_with(header::kEndNote) && end != std::string_view::npos)
            end_ = End::kWhole;
        else if (rest.starts_with(header::kLostNote) && end != std::string_view::npos)
            end_ = End::kLost;
        if (end == std::string_view::npos || end_ != End::kNone) break;
        take_event(rest.substr(0, end + 2));
        rest.remove_prefix(end + 2);
    }
    if (joined)
        held_.erase(0, held_.size() - rest.size());
    else
        held_.assign(rest);
    return out_;
}

void Continuation::take_event(std::string_view event) {
    if (event.starts_with(header::kTokensNote)) {
        const std::size_t line = event.find('\n');
        const std::string_view ids = event.substr(1, line - 1);
        overflow_ = overflow_ || delivered_.size() + ids.size() > kDeliveredBytesMax;
        if (!overflow_) delivered_.append(ids);
        event.remove_prefix(line + 1);
    }
    out_.append(event);
}

std::optional<std::string_view> Continuation::finish(bool clean) {
    constexpr std::string_view kDone = "data: [DONE]\n\n";
    std::string_view held = held_;
    if (end_ != End::kWhole || !(clean || held.ends_with(kDone))) return std::nullopt;
    held.remove_prefix(header::kEndNote.size() + 1);
    return held;
}

}  // namespace hearth
