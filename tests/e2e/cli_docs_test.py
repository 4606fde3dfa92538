"""What the programs say of themselves is whole: completions of three shells, manuals, docs/configuration.md."""

import re
import shutil
import subprocess

from fleet import BIN, ROOT, check, skip

# Conversations, servers, and what is written for a program that reads nothing else.
WITHOUT_JSON = {("up",), ("chat",), ("bench",), ("completion",), ("docs", "man"), ("docs", "configuration")}
missing = []
FISH = 'source (%s completion fish | psub); complete -C "$argv[1]"'
ZSH = """
compdef() { }
compadd() { print -l -- "$@" }
_files() { print FILES }
_describe() { [[ $1 == -o ]] && shift; print -l -- ${(P)2%%%%:*} }
source <(%s completion zsh)
words=("$@"); CURRENT=$#; PREFIX=${@[-1]}
_hearth
"""
BASH = """
source <(%s completion bash)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_hearth
printf '%%s\\n' "${COMPREPLY[@]}"
"""


def hearth(*words):
    done = subprocess.run([BIN / "hearth", *words], capture_output=True, text=True, timeout=30)
    check(done.returncode == 0, f"hearth {words}: {done.stderr}")
    return done.stdout


def commands():
    """{path: (subcommands, flags)}, from what --help prints."""
    found, left = {}, [()]
    while left:
        path = left.pop()
        text = hearth(*path, "--help")
        listed = text.split("\nSubcommands:\n")[1].split("\n\n")[0] if "\nSubcommands:\n" in text else ""
        names = re.findall(r"(?m)^  ([a-z-]+) ", listed + " ")
        options = text.split("\nOptions:\n")[1].split("\nSubcommands:\n")[0]
        found[path] = names, set(re.findall(r"(?m)^  (?:-\w,)?(--[a-z-]+)", options))
        left += [path + (name,) for name in names]
    return found


def shells():
    """(name, what it completes a line to); the last word is the one that is begun."""
    def of(command):
        return lambda *line: set(subprocess.run([*command, *line], capture_output=True, text=True, timeout=30,
                                                check=True).stdout.split())
    yield "bash", of(["bash", "-c", BASH % (BIN / "hearth"), "test"])
    if shutil.which("zsh"):
        yield "zsh", of(["zsh", "-f", "-c", ZSH % (BIN / "hearth"), "test"])
    else:
        missing.append("zsh")
    if shutil.which("fish"):
        def fish(*line):
            done = subprocess.run(["fish", "--no-config", "-c", FISH % (BIN / "hearth"), " ".join(line)],
                                  capture_output=True, text=True, timeout=30, check=True)
            return {each.split("\t")[0] for each in done.stdout.splitlines()}
        yield "fish", fish
    else:
        missing.append("fish")


def check_completion(tree):
    for shell, complete in shells():
        for path, (names, flags) in tree.items():
            if names:
                got = complete("hearth", *path, "")
                check(set(names) <= got, f"{shell}: hearth {path}: lacks {set(names) - got}")
            got = complete("hearth", *path, "--")
            lost = {flag for flag in flags if flag not in got}
            check(not lost, f"{shell}: hearth {path}: lacks {lost}")
        check(complete("hearth", "mod") & {"model"}, f"{shell}: mod")
        check({"bash", "zsh", "fish"} <= complete("hearth", "completion", ""), f"{shell}: choices")
        values = complete("hearth", "status", "--admin", "")
        check("--json" not in values and "up" not in values, f"{shell}: a value is wanted: {values}")


def check_manuals(tree):
    pages = {name: hearth("docs", "man", name) for name in ("hearth", "hearth-router", "hearth-cachenode")}
    for path in tree:
        if path and not tree[path][0]:
            check(re.search(rf"(?m)^\.SS {' '.join(path)}".replace("-", r"\\?-"), pages["hearth"]), f"{path}")
    for program in ("hearth-router", "hearth-cachenode"):
        text = subprocess.run([BIN / program, "--help"], capture_output=True, text=True).stdout
        for flag in re.findall(r"(?m)^  (--[a-z-]+) \(", text):
            check(flag.replace("-", r"\-") in pages[program], f"{program}'s manual lacks {flag}")
    if not shutil.which("groff"):
        missing.append("groff")
        return
    for name, page in pages.items():
        done = subprocess.run(["groff", "-Kutf8", "-man", "-Tutf8", "-ww", "-P-cbou"], input=page, capture_output=True, text=True)
        check(done.returncode == 0 and not done.stderr, f"{name}: {done.stderr[:500]}")
        check("EXAMPLES" in done.stdout, f"{name}: no examples")


def main():
    tree = commands()
    check(len(tree) > 20, f"{len(tree)} commands")
    for path in tree:
        check("xample" in hearth(*path, "--help"), f"hearth {' '.join(path)} --help has no example")
        if not tree[path][0] and path not in WITHOUT_JSON:
            check("--json" in tree[path][1], f"hearth {' '.join(path)} has no --json")
    check_completion(tree)
    check_manuals(tree)
    page = (ROOT / "docs" / "configuration.md").read_text()
    check(page == hearth("docs", "configuration"),
          "docs/configuration.md is stale: hearth docs configuration > docs/configuration.md")
    print(f"{len(tree)} commands")
    if missing:
        skip(f"not installed, so not all was checked: {', '.join(missing)}")


main()
