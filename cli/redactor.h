// Redactor: takes secrets out of text of any kind: those that it was told, and what looks like one.
#pragma once

#include <string>
#include <vector>

namespace hearth::cli {

// One owner. What it does not know and what looks like no secret stays: settings go through
// common/config/redact first.
class Redactor {
  public:
    // A value that must appear nowhere; shorter ones than 8 bytes are left, as they are words.
    void add(const std::string& secret);
    // Each line ends with '\n'. A pattern that straddles a 4 KiB piece of a line is not seen.
    std::string clean(const std::string& text) const;

  private:
    std::vector<std::string> secrets_;
};

}  // namespace hearth::cli
