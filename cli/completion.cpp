// hearth completion: what a shell needs to complete command lines, written from the app itself.
#include <cstdio>
#include <memory>
#include <string>

#include "cli/command_tree.h"
#include "cli/commands.h"
#include "common/config/version.h"

namespace hearth::cli {
namespace {

std::string joined(const std::vector<std::string>& words, const char* between = " ") {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : between) + word;
    return out;
}

// For single quotes of a POSIX shell, also within zsh's "name:about".
std::string quoted(const std::string& text) {
    std::string out = "'";
    for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
}

// For fish's single quotes, where a backslash counts.
std::string fish_quoted(const std::string& text) {
    std::string out = "'";
    for (const char c : text) {
        if (c == '\'' || c == '\\') out += '\\';
        out += c;
    }
    return out + "'";
}

std::string head(const std::string& comment, const char* shell) {
    return comment + " Completes hearth " + version() + "; written by `hearth completion " + shell +
           "`.\n";
}

// `case` branches that follow the words to a subcommand: in $at there is "model", then "model get".
std::string path_cases(const std::vector<Command>& tree) {
    std::vector<std::string> steps;
    for (const Command& command : tree)
        for (const std::string& sub : command.subcommands)
            steps.push_back("'" + command.path + " " + sub + "'");
    return "        " + joined(steps, " | ") + ") at=${at:+$at }$each ;;\n";
}

// `case` branches for the word after a flag that takes a value: its choices, else files.
std::string value_cases(const std::vector<Command>& tree, const char* choose, const char* files) {
    std::string out;
    for (const Command& command : tree)
        for (const Flag& flag : command.flags) {
            if (!flag.takes_value) continue;
            std::vector<std::string> patterns;
            for (const std::string& name : flag.names)
                patterns.push_back(quoted(command.path + " " + name));
            const bool any = flag.choices.empty();
            out += "    " + joined(patterns, " | ") + ") " +
                   (any ? files : choose + ("(" + joined(flag.choices) + ")")) + " ;;\n";
        }
    return out;
}

std::vector<std::string> values_of(const Command& command) {
    for (const Flag& each : command.positionals)
        if (!each.choices.empty()) return each.choices;
    return {};
}

std::string bash(const std::vector<Command>& tree) {
    std::string out = head("#", "bash");
    out +=
        "_hearth() {\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} at= each found=()\n"
        "    for each in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
        "        case \"$at $each\" in\n" +
        path_cases(tree) +
        "        esac\n"
        "    done\n"
        "    COMPREPLY=()\n"
        "    case \"$at ${COMP_WORDS[COMP_CWORD-1]}\" in\n" +
        value_cases(tree, "found=", "return 0") + "    *)\n        case \"$at\" in\n";
    for (const Command& command : tree) {
        std::vector<std::string> words = command.subcommands;
        for (const std::string& value : values_of(command)) words.push_back(value);
        for (const Flag& flag : command.flags)
            words.insert(words.end(), flag.names.begin(), flag.names.end());
        out += "        " + quoted(command.path) + ") found=(" + joined(words) + ") ;;\n";
    }
    return out +
           "        esac\n        ;;\n    esac\n"
           "    COMPREPLY=($(compgen -W \"${found[*]}\" -- \"$word\"))\n"
           "}\n"
           "complete -o default -F _hearth hearth\n";
}

std::string zsh(const std::vector<Command>& tree) {
    std::string out = "#compdef hearth\n" + head("#", "zsh");
    out +=
        "_hearth() {\n"
        "    local at= each\n"
        "    local -a found flags\n"
        "    for each in \"${(@)words[2,CURRENT-1]}\"; do\n"
        "        case \"$at $each\" in\n" +
        path_cases(tree) +
        "        esac\n"
        "    done\n"
        "    case \"$at ${words[CURRENT-1]}\" in\n" +
        value_cases(tree, "compadd ", "_files") + "    *)\n        case \"$at\" in\n";
    for (const Command& command : tree) {
        out += "        " + quoted(command.path) + ")\n            found=(";
        for (const Command& sub : tree)
            for (const std::string& name : command.subcommands)
                if (sub.path == (command.path.empty() ? name : command.path + " " + name))
                    out += "\n                " + quoted(name + ":" + sub.about);
        for (const std::string& value : values_of(command)) out += " " + value;
        out += ")\n            flags=(";
        for (const Flag& flag : command.flags)
            for (const std::string& name : flag.names)
                out += "\n                " + quoted(name + ":" + flag.about);
        out += ")\n            ;;\n";
    }
    return out +
           "        esac\n"
           "        if [[ $PREFIX == -* ]]; then\n"
           "            _describe -o flag flags\n"
           "        elif (( $#found )); then\n"
           "            _describe word found\n"
           "        else\n"
           "            _files\n"
           "        fi\n"
           "        ;;\n    esac\n"
           "}\n"
           "if [[ $funcstack[1] == _hearth ]]; then _hearth \"$@\"; else compdef _hearth hearth; "
           "fi\n";
}

std::string fish(const std::vector<Command>& tree) {
    std::string out = head("#", "fish");
    out +=
        "function __hearth_at\n"
        "    set -l at ''\n"
        "    for each in (commandline -opc)[2..]\n"
        "        switch \"$at $each\"\n            case";
    for (const Command& command : tree)
        for (const std::string& sub : command.subcommands)
            out += " " + fish_quoted(command.path + " " + sub);
    out +=
        "\n                set at (string trim -- \"$at $each\")\n"
        "        end\n    end\n"
        "    test \"$at\" = \"$argv[1]\"\n"
        "end\n";
    for (const Command& command : tree) {
        const std::string here =
            "complete -c hearth -n " + fish_quoted("__hearth_at " + fish_quoted(command.path));
        for (const Command& sub : tree)
            for (const std::string& name : command.subcommands)
                if (sub.path == (command.path.empty() ? name : command.path + " " + name))
                    out += here + " -f -a " + name + " -d " + fish_quoted(sub.about) + "\n";
        if (const auto values = values_of(command); !values.empty())
            out += here + " -f -a " + fish_quoted(joined(values)) + "\n";
        for (const Flag& flag : command.flags) {
            out += here;
            for (const std::string& name : flag.names)
                out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
            if (!flag.choices.empty()) out += " -x -a " + fish_quoted(joined(flag.choices));
            if (flag.choices.empty() && flag.takes_value) out += " -r";
            out += " -d " + fish_quoted(flag.about) + "\n";
        }
    }
    return out;
}

}  // namespace

void add_completion(CLI::App& app, int& exit_code) {
    const auto shell = std::make_shared<std::string>();
    CLI::App* sub = app.add_subcommand("completion", "A shell's completion of command lines");
    sub->add_option("shell", *shell, "bash, zsh or fish")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    sub->footer(
        "Examples:\n"
        "  source <(hearth completion bash)                 now; in ~/.bashrc for every shell\n"
        "  hearth completion zsh > ~/.zfunc/_hearth         a folder of $fpath\n"
        "  hearth completion fish > ~/.config/fish/completions/hearth.fish");
    sub->callback([sub, shell, &exit_code] {
        const std::vector<Command> tree = command_tree(root_of(*sub));
        const std::string text = *shell == "bash"  ? bash(tree)
                                 : *shell == "zsh" ? zsh(tree)
                                                   : fish(tree);
        std::fputs(text.c_str(), stdout);
        exit_code = 0;
    });
}

}  // namespace hearth::cli
