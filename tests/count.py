#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up the JUnit files that ctest wrote and prints "N passed, M failed[, K skipped]".

usage: count.py [--also-failed N] [--show-failed] FILE...
With --show-failed, each failed test comes first, with what GoogleTest found wrong and the end of what it printed, for
a reader who sees only the end of a long run. Beside NAME.xml, NAME.again.xml is what tests that failed did when they ran once
more (tests/ctest.sh): one that passed then counts as passed, and is always shown. A file that does not exist or cannot be read counts as one failure: its tests did not run.
Exit status: 0 when nothing failed and something passed.
"""
import argparse
import os
import re
import sys
import xml.etree.ElementTree as ElementTree

# Of each failed test, with --show-failed.
LINES_MAX = 25
FOUND_LINES_MAX = 24
COLUMNS_MAX = 240
# What begins a finding of GoogleTest, and what ends it is an empty line.
FOUND = re.compile(r"^\S+:\d+: Failure$")
# What a sanitizer reports happened, whether it happens again or not.
REPORT = re.compile(r"Sanitizer: |: runtime error: ")


def outcome(case):
    """What became of one test. ctest also marks as skipped what it could not start: that is a failure."""
    if case.get("status") == "run":
        return "passed"
    skipped = case.find("skipped")
    asked_for = skipped is not None and skipped.get("message", "").startswith("SKIP_")
    return "skipped" if asked_for or case.get("status") == "disabled" else "failed"


def findings(lines):
    """Those of the lines that say what an assertion found: from `file:line: Failure` to the next empty line."""
    inside = False
    for line in lines:
        inside = bool(line.strip()) and (inside or bool(FOUND.match(line)) or bool(REPORT.search(line)))
        if inside:
            yield line


def show(path, case, became):
    """Prints a failed test: where, which, what was found wrong, and the end of what it said."""
    said = (case.findtext("system-out") or "").splitlines()
    build = os.path.splitext(os.path.basename(path))[0]
    cut = len(said) > LINES_MAX
    print(f"== {build}: {case.get('name')} {became}" + (f"; its findings and the last {LINES_MAX} lines:" if cut else ":"))
    first = list(findings(said[:-LINES_MAX]))[:FOUND_LINES_MAX]
    for line in first + said[-LINES_MAX:]:
        print(f"   {line[:COLUMNS_MAX]}")


def cases_of(path):
    """The tests of one file; raises OSError or ParseError."""
    return list(ElementTree.parse(path).getroot().iter("testcase"))


def passed_again(path):
    """The names of those that passed when they ran once more."""
    again = os.path.splitext(path)[0] + ".again.xml"
    return {case.get("name") for case in cases_of(again) if outcome(case) == "passed"} if os.path.exists(again) else set()


def count(path, show_failed):
    """Returns (passed, failed, skipped) of one file."""
    try:
        cases = cases_of(path)
        again = passed_again(path)
    except (OSError, ElementTree.ParseError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 0, 1, 0
    words = []
    for case in cases:
        word = outcome(case)
        if word == "failed" and case.get("name") in again and not REPORT.search(case.findtext("system-out") or ""):
            word = "passed"
            show(path, case, "failed at first and passed when it ran again")
        elif word == "failed" and show_failed:
            show(path, case, "failed")
        words.append(word)
    return tuple(words.count(word) for word in ("passed", "failed", "skipped"))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--also-failed", type=int, default=0, help="failures that no file tells of")
    parser.add_argument("--show-failed", action="store_true", help="what failed, and what it printed")
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_args()
    passed = skipped = 0
    failed = arguments.also_failed
    for path in arguments.files:
        more = count(path, arguments.show_failed)
        passed, failed, skipped = passed + more[0], failed + more[1], skipped + more[2]
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
