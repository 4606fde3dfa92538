"""The official OpenAI client for Node, through the router: all of clients/scenarios.json."""

import os
import pathlib
import shutil

from fleet import skip
from official_clients import play


def main():
    node = shutil.which("node")
    if node is None:
        skip("there is no node")
    modules = os.environ.get("HEARTH_TEST_NODE_MODULES", "")
    if not (pathlib.Path(modules) / "openai" / "package.json").is_file():
        skip("the OpenAI client for Node is not installed (./dev test installs it where there is npm)")
    script = pathlib.Path(__file__).with_name("clients") / "driver.cjs"
    play("node", [node, script], {**os.environ, "NODE_PATH": modules})


main()
