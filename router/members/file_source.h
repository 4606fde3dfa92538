// FileSource: members from a file that others write, looked at again when it has changed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "router/config.h"

namespace hearth {

// `nodes:` as in the router's own configuration, in YAML or JSON. Errors name file, line and
// column.
Result<std::vector<StaticNode>> nodes_from_text(const std::string& text, const std::string& name);

// One thread. Reads a small local file and blocks for that long.
class FileSource {
  public:
    explicit FileSource(std::string path) : path_(std::move(path)) {}
    // Nothing if the file is as it was at the last look (size, time, inode); else what it says now.
    std::optional<Result<std::vector<StaticNode>>> look();

  private:
    const std::string path_;
    std::optional<std::string> seen_;  // What the file looked like; nothing = never looked.
};

}  // namespace hearth
