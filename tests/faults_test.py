#!/usr/bin/env python3
"""Tests that each test that docs/faults.md names is in the build. usage: tests/faults_test.py BUILD"""
import json
import os
import re
import subprocess
import sys

SOURCES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DOCUMENT = os.path.join(SOURCES, "docs/faults.md")
FAULTS = 36


def plain(name):
    """A test's name without what GoogleTest adds to one with parameters: PREFIX/Suite.Name/PARAMETER."""
    suite, dot, rest = name.partition(".")
    return suite.split("/")[-1] + dot + rest.split("/")[0]


def is_step(name):
    """Whether it is a program that ci/nightly runs."""
    return name.startswith("ci/") and os.access(os.path.join(SOURCES, name), os.X_OK)


def mistakes(text, tests):
    """What is wrong in the table: a test that is not there, a fault that is missing, a row that says nothing."""
    found, numbers = [], []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("| ") or cells[0] == "fault" or set(line) <= set("|- "):
            continue
        if len(cells) != 3:
            found.append(f"{len(cells)} cells instead of 3: {line}")
            continue
        fault, answer, named = cells
        numbers += [int(number) for number in re.findall(r"^(\d+)\. ", fault)]
        names = re.findall(r"`([^`]+)`", named)
        found += [f"{fault}: there is no test {name}" for name in names if name not in tests and not is_step(name)]
        if not names and "ot tested" not in answer:
            found.append(f"{fault}: it names no test, and does not say why")
    if sorted(numbers) != list(range(1, FAULTS + 1)):
        found.append(f"the numbers of the faults are {sorted(numbers)}, and not 1 to {FAULTS}, once each")
    return found


def main():
    shown = subprocess.run(["ctest", "--test-dir", sys.argv[1], "--show-only=json-v1"], capture_output=True, check=True)
    tests = {plain(test["name"]) for test in json.loads(shown.stdout)["tests"]}
    with open(DOCUMENT) as file:
        text = file.read()
    # The check itself: each of these changes must be found.
    for broken in (text.replace("`Live.", "`Lives."), text.replace("| 8. ", "| 7. "), text.replace("`ci/soak`", "`ci/soaks`"),
                   re.sub(r"(\| 9\. .*)\*\*Not tested\.\*\*", r"\1", text)):
        assert broken != text and mistakes(broken, tests), "a mistake in the document was not found"
    found = mistakes(text, tests)
    print("\n".join(found) or f"docs/faults.md names {len(set(re.findall('`([A-Za-z]+[.][^`]+)`', text)))} tests")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
