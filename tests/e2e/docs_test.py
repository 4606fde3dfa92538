"""Pages name files that exist: every link, and every `path/with.ending` or `folder/` in backticks."""

import re

from fleet import ROOT, check

LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
CODE = re.compile(r"`([^`\s]+)`")
ROOMS = {"common", "router", "cachenode", "engine", "cli", "deploy", "dashboards", "tests", "docs"}


def paths_in(text):
    """(path, is a link); in backticks only what begins with a room's name is one of ours."""
    for path in LINK.findall(text):
        if "://" not in path:
            yield path, True
    for word in CODE.findall(text):
        if word.split("/")[0] in ROOMS and "/" in word and not set(word) & set("*<>{}…$="):
            yield word.split(":")[0], False


def main():
    pages = [p.relative_to(ROOT) for p in ROOT.rglob("*.md") if "build" not in p.parts]
    count = 0
    for page in pages:
        folder = (ROOT / page).parent
        for path, is_link in paths_in((ROOT / page).read_text()):
            count += 1
            found = (folder / path).exists() or (not is_link and (ROOT / path).exists())
            # `x/y` may name x/y.h and x/y.cpp together, or a program of tests/bench.
            found = found or (not is_link and any(ROOT.glob(f"{path}.*")))
            check(found, f"{page} names {path}, which does not exist")
    check(count > 50, f"only {count} paths were found to check")
    print(f"{count} paths in {len(pages)} pages")


main()
