// Pieces of manual pages in roff, for Options::manual() and for the tool's own page.
#pragma once

#include <string>
#include <vector>

namespace hearth {

// Text that roff leaves as it is, of any number of lines.
std::string roff(const std::string& text);

struct ManualHead {
    std::string program;  // "hearth-router"
    int section = 1;
    std::string about;     // One line; becomes the NAME.
    std::string synopsis;  // What follows the program's name.
};
// Title, NAME and SYNOPSIS.
std::string manual_head(const ManualHead& head);

// A term and what is said of it.
std::string manual_entry(const std::string& term, const std::string& text);
// Lines as they are, in a section of that title.
std::string manual_lines(const std::string& title, const std::vector<std::string>& lines);
// EXIT STATUS and SEE ALSO, which all programs share.
std::string manual_tail();

}  // namespace hearth
