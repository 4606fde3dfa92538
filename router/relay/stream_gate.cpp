// Cuts streams of events at line ends (any server's) and at event ends (our nodes').
#include "router/relay/stream_gate.h"

#include <algorithm>
#include <charconv>

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

namespace {

// Takes a group's note off `text`; how many events it is for, 1 without one, 0 if it is not whole.
std::size_t take_group_note(std::string_view& text) {
    if (!text.starts_with(header::kGroupNote)) return 1;
    const std::size_t line = text.find('\n');
    if (line == std::string_view::npos) return 0;
    std::size_t count = 1;
    std::from_chars(text.data() + header::kGroupNote.size(), text.data() + line, count);
    text.remove_prefix(line + 1);
    return std::max<std::size_t>(count, 1);
}

// Where the event or group at the front of `text` ends; npos if it is not whole yet.
std::size_t end_of_group(std::string_view text) {
    std::string_view rest = text;
    const std::size_t count = take_group_note(rest);
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t end = rest.find("\n\n");
        if (end == std::string_view::npos) return end;
        rest.remove_prefix(end + 2);
    }
    return count == 0 ? std::string_view::npos : text.size() - rest.size();
}

}  // namespace

std::string_view Continuation::take(std::string_view piece) {
    out_.clear();
    const bool joined = !held_.empty();
    if (joined) held_.append(piece);
    std::string_view rest = joined ? std::string_view(held_) : piece;
    while (end_ == End::kNone) {
        const std::size_t end = end_of_group(rest);
        if (rest.starts_with(header::kEndNote) && end != std::string_view::npos)
            end_ = End::kWhole;
        else if (rest.starts_with(header::kLostNote) && end != std::string_view::npos)
            end_ = End::kLost;
        if (end == std::string_view::npos || end_ != End::kNone) break;
        take_events(rest.substr(0, end));
        rest.remove_prefix(end);
    }
    if (joined)
        held_.erase(0, held_.size() - rest.size());
    else
        held_.assign(rest);
    return out_;
}

void Continuation::take_events(std::string_view events) {
    (void)take_group_note(events);
    if (events.starts_with(header::kTokensNote)) {
        const std::size_t line = events.find('\n');
        const std::string_view ids = events.substr(1, line - 1);
        overflow_ = overflow_ || delivered_.size() + ids.size() > kDeliveredBytesMax;
        if (!overflow_) delivered_.append(ids);
        events.remove_prefix(line + 1);
    }
    if (events.starts_with("event: ")) note_number(events);
    out_.append(events);
}

// Our nodes write the number right behind the type.
void Continuation::note_number(std::string_view events) {
    constexpr std::string_view kName = "\",\"sequence_number\":";
    constexpr std::size_t kFrontBytes = 256;
    std::size_t last = events.rfind("\n\n", events.size() - 3);
    last = last == std::string_view::npos ? 0 : last + 2;
    const std::string_view front = events.substr(last, kFrontBytes);
    const std::size_t at = front.find(kName);
    if (at == std::string_view::npos) return;
    std::uint64_t number = 0;
    const auto read =
        std::from_chars(front.data() + at + kName.size(), front.data() + front.size(), number);
    if (read.ec == std::errc{}) last_number_ = number;
}

std::optional<std::string_view> Continuation::finish(bool clean) {
    constexpr std::string_view kDone = "data: [DONE]\n\n";
    std::string_view held = held_;
    if (end_ != End::kWhole || !(clean || held.ends_with(kDone))) return std::nullopt;
    held.remove_prefix(header::kEndNote.size() + 1);
    return held;
}

}  // namespace hearth
