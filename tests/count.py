#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up the JUnit files that ctest wrote and prints "N passed, M failed[, K skipped]".

usage: count.py [--also-failed N] [--show-failed] FILE...
With --show-failed, each failed test comes first, with the end of what it printed, for a reader who sees only the
end of a long run. A file that does not exist or cannot be read counts as one failure: its tests did not run.
Exit status: 0 when nothing failed and something passed.
"""
import argparse
import os
import sys
import xml.etree.ElementTree as ElementTree

# Of each failed test, with --show-failed.
LINES_MAX = 25
COLUMNS_MAX = 240


def outcome(case):
    """What became of one test. ctest also marks as skipped what it could not start: that is a failure."""
    if case.get("status") == "run":
        return "passed"
    skipped = case.find("skipped")
    asked_for = skipped is not None and skipped.get("message", "").startswith("SKIP_")
    return "skipped" if asked_for or case.get("status") == "disabled" else "failed"


def show(path, case):
    """Prints a failed test: where, which, and the end of what it said."""
    said = (case.findtext("system-out") or "").splitlines()
    build = os.path.splitext(os.path.basename(path))[0]
    print(f"== {build}: {case.get('name')} failed" + (f"; the last {LINES_MAX} lines:" if len(said) > LINES_MAX else ":"))
    for line in said[-LINES_MAX:]:
        print(f"   {line[:COLUMNS_MAX]}")


def count(path, show_failed):
    """Returns (passed, failed, skipped) of one file."""
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 0, 1, 0
    outcomes = [outcome(case) for case in cases]
    if show_failed:
        for case, word in zip(cases, outcomes):
            if word == "failed":
                show(path, case)
    return tuple(outcomes.count(word) for word in ("passed", "failed", "skipped"))


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
