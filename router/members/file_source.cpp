// Reads the watched file with the same code as the configuration, so that errors read the same.
#include "router/members/file_source.h"

#include <sys/stat.h>

#include <fstream>
#include <set>

#include "common/config/options.h"

namespace hearth {
namespace {

constexpr std::size_t kFileBytesMax = 4 << 20;

// Two states of the file look the same only if it was not written between them.
std::string look_of(const std::string& path) {
    struct stat now {};
    if (::stat(path.c_str(), &now) != 0) return "absent";
    return std::to_string(now.st_ino) + "/" + std::to_string(now.st_size) + "/" +
           std::to_string(now.st_mtim.tv_sec) + "." + std::to_string(now.st_mtim.tv_nsec);
}

Result<std::string> text_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return make_error(ErrorCode::kNotFound, path + ": cannot be read");
    std::string text(kFileBytesMax + 1, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
    if (text.size() > kFileBytesMax)
        return make_error(ErrorCode::kTooLarge, path + ": is larger than 4MiB");
    return text;
}

}  // namespace

Result<std::vector<StaticNode>> nodes_from_text(const std::string& text, const std::string& name) {
    std::vector<StaticNode> nodes;
    std::set<std::string> ids;
    Options options("members", "", {});
    options.add_entries("nodes", "",
                        [&](const std::map<std::string, std::string>& fields) -> Result<void> {
                            auto node = static_node_from(fields);
                            if (!node) return node.error();
                            if (!ids.insert(node->node_id).second)
                                return make_error(ErrorCode::kInvalidArgument,
                                                  "id: '" + node->node_id + "' is there twice");
                            nodes.push_back(std::move(*node));
                            return {};
                        });
    if (auto loaded = options.load_yaml(text, name); !loaded) return loaded.error();
    // A file cut while it was written must not empty the fleet.
    if (nodes.empty())
        return make_error(ErrorCode::kInvalidArgument, name + ":1:1: nodes: names no node");
    return nodes;
}

std::optional<Result<std::vector<StaticNode>>> FileSource::look() {
    std::string looks = look_of(path_);
    if (seen_ == looks) return std::nullopt;
    seen_ = std::move(looks);
    const auto text = text_of(path_);
    if (!text) return Result<std::vector<StaticNode>>(text.error());
    return nodes_from_text(*text, path_);
}

}  // namespace hearth
