// Manual pages: the macros of man(7), and the page of a program whose settings are Options.
#include "common/config/manual.h"

#include <algorithm>
#include <cctype>

#include "common/config/field.h"
#include "common/config/version.h"

namespace hearth {

std::string roff(const std::string& text) {
    std::string out;
    bool line_begins = true;
    for (const char c : text) {
        if (line_begins && (c == '.' || c == '\'')) out += "\\&";
        if (c == '\\')
            out += "\\e";
        else if (c == '-')
            out += "\\-";
        else
            out += c;
        line_begins = c == '\n';
    }
    return out;
}

std::string manual_head(const ManualHead& head) {
    std::string title = head.program;
    std::transform(title.begin(), title.end(), title.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return ".TH " + roff(title) + " " + std::to_string(head.section) + " \"\" \"Hearth " +
           version() + "\" Hearth\n.SH NAME\n" + roff(head.program) + " \\- " + roff(head.about) +
           "\n.SH SYNOPSIS\n.B " + roff(head.program) + "\n" + roff(head.synopsis) + "\n";
}

std::string manual_entry(const std::string& term, const std::string& text) {
    return ".TP\n\\fB" + roff(term) + "\\fR\n" + roff(text) + "\n";
}

std::string manual_lines(const std::string& title, const std::vector<std::string>& lines) {
    std::string out = ".SH " + roff(title) + "\n.nf\n";
    for (const std::string& line : lines) out += roff(line) + "\n";
    return out + ".fi\n";
}

std::string manual_tail() {
    return ".SH EXIT STATUS\n"
           "0 when it did what was asked, 1 when something failed, 2 when a word or a setting is "
           "wrong.\n"
           ".SH SEE ALSO\n"
           ".BR hearth (1),\n.BR hearth\\-router (8),\n.BR hearth\\-cachenode (8)\n";
}

std::string Options::manual() const {
    std::string out = manual_head({program_, 8, about_, "[--config FILE] [--SETTING VALUE]..."});
    out += ".SH DESCRIPTION\n" +
           roff(
               "Each setting is a flag, a key of the YAML file (underscores in place of dashes) "
               "and a variable. A flag wins over the variable, the variable over the file. "
               "Secrets have no flag, lists of maps are in the file only.") +
           "\n.SH OPTIONS\n";
    out += manual_entry("--config FILE", "YAML file with any of the settings below.");
    out += manual_entry("--check", "Check the settings and exit: 0 good, 2 bad.");
    out += manual_entry("--print-config", "Print every setting and where it came from.");
    out += manual_entry("--version, --help", "Print the version, or the flags, and exit.");
    out += ".SH SETTINGS\n";
    for (const Field& field : fields_) {
        const bool flag = !field.is_secret && !field.read_entry;
        std::string text = field.help + ". " + field.kind;
        if (flag && !field.get().empty()) text += "; default " + field.get();
        if (!field.read_entry) text += "; " + variable_name(field.name);
        out += manual_entry(flag ? flag_name(field.name) : field.name + " (in the file)", text);
    }
    return out + manual_lines("EXAMPLES", examples_) + manual_tail();
}

}  // namespace hearth
