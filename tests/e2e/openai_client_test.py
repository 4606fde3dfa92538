"""The official OpenAI client for Python, through the router: all of clients/scenarios.json."""

import os
import pathlib
import subprocess
import sys

from fleet import skip
from official_clients import play


def main():
    python = os.environ.get("HEARTH_TEST_PYTHON", sys.executable)
    have = subprocess.run([python, "-c", "import openai"], capture_output=True)
    if have.returncode != 0:
        skip("the OpenAI client is not installed (./dev test installs it)")
    play("python", [python, pathlib.Path(__file__).with_name("clients") / "driver.py"])


main()
