// Sums of the history, rates of two frames, and their table.
#include "cli/top_view.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cstdio>
#include <sstream>

#include "cli/admin_client.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;

constexpr double kRecentSeconds = 300, kHourSeconds = 3600;
constexpr std::size_t kBarCells = 6;

const json::array* list_at(const json::object& object, const char* key) {
    const json::value* value = object.if_contains(key);
    return value != nullptr && value->is_array() ? &value->as_array() : nullptr;
}

std::string format(const char* text, double value) {
    char out[64];
    std::snprintf(out, sizeof(out), text, value);
    return out;
}

std::string percent(double part, double whole) {
    return whole > 0 ? format("%.1f %%", 100 * part / whole) : "-";
}

json::value share(double part, double whole) {
    if (whole <= 0) return nullptr;
    return part / whole;
}

std::string padded(std::string text, std::size_t width, bool left = true) {
    if (text.size() >= width) return text;
    return left ? text + std::string(width - text.size(), ' ')
                : std::string(width - text.size(), ' ') + text;
}

TopNode node_of(const json::object& answer) {
    TopNode node;
    node.id = text_at(answer, "id");
    node.state = text_at(answer, "state");
    if (const std::string reason = text_at(answer, "reason"); reason != "-")
        node.state += " (" + reason + ")";
    node.address = text_at(answer, "address");
    node.load = number_at(answer, "load");
    node.in_flight = number_at(answer, "in_flight");
    node.running = number_at(answer, "running");
    node.waiting = number_at(answer, "waiting");
    node.kv_used = number_at(answer, "kv_bytes_used");
    node.kv_max = number_at(answer, "kv_bytes_max");
    node.reused = number_at(answer, "reused_tokens");
    node.reusable = number_at(answer, "reusable_tokens");
    node.prompt_tokens = number_at(answer, "prompt_tokens");
    return node;
}

// "######....", with the number behind it.
std::string bar(double part, double whole) {
    if (whole <= 0) return padded("-", kBarCells + 6);
    const double filled = std::clamp(part / whole, 0.0, 1.0) * kBarCells;
    const auto cells = static_cast<std::size_t>(filled + 0.5);
    return std::string(cells, '#') + std::string(kBarCells - cells, '.') +
           padded(format("%.0f %%", 100 * part / whole), 6, false);
}

// A hit rate from 95 % up is as it should be, from 60 % on somebody should look.
const char* color_of(const HitWindow& window) {
    if (window.reusable <= 0) return "";
    const double rate = window.reused / window.reusable;
    return rate >= 0.95 ? "\x1b[32m" : rate >= 0.6 ? "\x1b[33m" : "\x1b[31m";
}

std::string hit_line(const char* title, const HitWindow& window, const TopStyle& style) {
    const std::string rate = padded(percent(window.reused, window.reusable), 8, false);
    std::string line = std::string(title) + "  ";
    line += style.color ? color_of(window) + rate + "\x1b[0m" : rate;
    line += "  of at most " + padded(percent(window.ceiling, window.reusable), 8, false);
    line += "  missed:";
    for (const auto& [reason, tokens] : window.missed)
        line += " " + reason + " " + percent(tokens, window.reusable) + ",";
    if (window.missed.empty()) line += " nothing";
    if (line.back() == ',') line.pop_back();
    return line;
}

// Of the first two columns, as wide as what stands in them.
struct Widths {
    std::size_t id = 5, state = 7;
};

Widths widths_of(const TopFrame& frame) {
    Widths out;
    for (const TopNode& node : frame.nodes) {
        out.id = std::max(out.id, node.id.size() + 1);
        out.state = std::max(out.state, node.state.size() + 1);
    }
    return out;
}

// The columns behind id and state.
std::string columns(const std::array<std::string, 4>& turns, const std::string& kv,
                    const std::string& rate, const std::string& speed) {
    constexpr std::array<std::size_t, 4> kWidths = {5, 8, 5, 6};
    std::string out;
    for (std::size_t i = 0; i < turns.size(); ++i) out += padded(turns[i], kWidths[i], false);
    return out + "  " + padded(kv, kBarCells + 6) + padded(rate, 10, false) +
           padded(speed, 10, false);
}

std::string node_line(const TopNode& node, const Widths& widths, const TopStyle& style) {
    std::string state = padded(node.state, widths.state);
    if (style.color && !node.state.starts_with("active")) state = "\x1b[33m" + state + "\x1b[0m";
    const double speed = node.prompt_tokens_per_s;
    const std::array<std::string, 4> turns = {
        format("%.2f", node.load), format("%.0f", node.in_flight), format("%.0f", node.running),
        format("%.0f", node.waiting)};
    return padded(node.id, widths.id) + state +
           columns(turns, bar(node.kv_used, node.kv_max), percent(node.reused, node.reusable),
                   speed < 0 ? "-" : format("%.0f", speed));
}

// At most `columns` characters of each line; the colours take none, and end.
std::string cut(const std::string& line, std::size_t columns) {
    if (columns == 0) return line;
    std::string out;
    std::size_t seen = 0;
    bool in_color = false;
    for (const char c : line) {
        if (c == '\x1b') in_color = true;
        if (in_color || seen < columns) out += c;
        if (!in_color) ++seen;
        if (c == 'm') in_color = false;
    }
    return out;
}

json::object view(const HitWindow& window) {
    json::object missed;
    for (const auto& [reason, tokens] : window.missed) missed[reason] = tokens;
    return {{"reused_tokens", window.reused},
            {"reusable_tokens", window.reusable},
            {"hit_rate", share(window.reused, window.reusable)},
            {"ceiling", share(window.ceiling, window.reusable)},
            {"missed_tokens", std::move(missed)}};
}

}  // namespace

HitWindow hit_window(const json::object& history, double seconds) {
    HitWindow out;
    const json::array* samples = list_at(history, "samples");
    if (samples == nullptr || samples->empty() || !samples->back().is_object()) return out;
    std::map<std::string, double> missed;
    const double end = number_at(samples->back().as_object(), "at_ms");
    for (const json::value& each : *samples) {
        if (!each.is_object()) continue;
        const json::object& sample = each.as_object();
        if (number_at(sample, "at_ms") <= end - seconds * 1000) continue;
        out.reused += number_at(sample, "reused");
        out.reusable += number_at(sample, "reusable");
        out.ceiling += number_at(sample, "ceiling");
        const json::value* reasons = sample.if_contains("missed");
        if (reasons == nullptr || !reasons->is_object()) continue;
        for (const auto& pair : reasons->as_object())
            missed[std::string(pair.key())] +=
                number_at(reasons->as_object(), std::string(pair.key()).c_str());
    }
    out.missed.assign(missed.begin(), missed.end());
    const auto more = [](const auto& a, const auto& b) { return a.second > b.second; };
    std::stable_sort(out.missed.begin(), out.missed.end(), more);
    return out;
}

TopFrame TopView::next(const json::object& nodes, const json::object& history, MonotonicNs now) {
    TopFrame frame;
    frame.cluster = text_at(nodes, "cluster");
    const json::value* up = nodes.if_contains("directory_up");
    frame.store = up == nullptr || !up->is_bool() ? "not used" : up->as_bool() ? "up" : "down";
    frame.recent = hit_window(history, kRecentSeconds);
    frame.hour = hit_window(history, kHourSeconds);
    std::map<std::string, double> tokens;
    const double elapsed = seconds(now - before_);
    if (const json::array* list = list_at(nodes, "nodes"))
        for (const json::value& each : *list) {
            if (!each.is_object()) continue;
            TopNode node = node_of(each.as_object());
            tokens[node.id] = node.prompt_tokens;
            const auto found = tokens_before_.find(node.id);
            // Fewer than before: the node has begun anew.
            if (found != tokens_before_.end() && elapsed > 0 && node.prompt_tokens >= found->second)
                node.prompt_tokens_per_s = (node.prompt_tokens - found->second) / elapsed;
            frame.nodes.push_back(std::move(node));
        }
    tokens_before_ = std::move(tokens);
    before_ = now;
    return frame;
}

std::string top_text(const TopFrame& frame, const TopStyle& style) {
    std::vector<std::string> lines;
    double running = 0, waiting = 0, used = 0, most = 0;
    for (const TopNode& node : frame.nodes) {
        running += node.running;
        waiting += node.waiting;
        used += node.kv_used;
        most += node.kv_max;
    }
    lines.push_back("fleet " + frame.cluster + ": " + std::to_string(frame.nodes.size()) +
                    " nodes, " + format("%.0f", running) + " turns running, " +
                    format("%.0f", waiting) + " waiting, KV " + percent(used, most) +
                    " full, metadata store " + frame.store);
    lines.push_back(hit_line("hit rate, 5 min ", frame.recent, style));
    lines.push_back(hit_line("hit rate, 1 hour", frame.hour, style));
    lines.push_back("");
    const Widths widths = widths_of(frame);
    const std::string header =
        padded("node", widths.id) + padded("state", widths.state) +
        columns({"load", "flight", "run", "wait"}, "KV memory", "hit rate", "tokens/s");
    lines.push_back(style.color ? "\x1b[1m" + header + "\x1b[0m" : header);
    for (const TopNode& node : frame.nodes) lines.push_back(node_line(node, widths, style));
    std::string out;
    for (const std::string& line : lines) out += cut(line, style.columns) + "\n";
    return out;
}

json::object top_json(const TopFrame& frame) {
    json::array nodes;
    for (const TopNode& node : frame.nodes) {
        json::value rate = nullptr;
        if (node.prompt_tokens_per_s >= 0) rate = node.prompt_tokens_per_s;
        nodes.push_back(json::object{{"id", node.id},
                                     {"state", node.state},
                                     {"address", node.address},
                                     {"load", node.load},
                                     {"in_flight", node.in_flight},
                                     {"running", node.running},
                                     {"waiting", node.waiting},
                                     {"kv_bytes_used", node.kv_used},
                                     {"kv_bytes_max", node.kv_max},
                                     {"hit_rate", share(node.reused, node.reusable)},
                                     {"prompt_tokens_per_s", rate}});
    }
    return {{"cluster", frame.cluster},
            {"metadata_store", frame.store},
            {"five_minutes", view(frame.recent)},
            {"hour", view(frame.hour)},
            {"nodes", std::move(nodes)}};
}

}  // namespace hearth::cli
