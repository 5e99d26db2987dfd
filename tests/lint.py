#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""House rules that compilers and clang-tidy do not know. Prints "file:line: rule: message" for each fault.

usage: lint.py [FILE...]     everything without arguments; exit status 1 when something was found

rule       what it demands
include    shm and qclient/kdb include nobody; qclient, servantshim and broker these two; qclient/capi all but
           the broker; nobody includes bench or tests; private headers stay in their module; no ".." in an include
heavy      headers that cost seconds to compile (CLI11, spdlog, fmt, Boost.JSON, Asio, Beast, Interprocess)
           stand in .cpp files only; the moodycamel queue is the broker's alone
spdx       the licence stands on the first line (after #!)
pragma     a header starts with #pragma once
words      shm and broker/src/dispatch declare no head, tail, push, pop, worker, job, ticket, connection
order      every atomic operation spells its memory order
reason     outside tests and bench every acquire and release has a comment, in the same line or above the
           statement: the edge it belongs to (E1) or why
seq_cst    only where such a comment contains "fallback:" or "parking:"
volatile   no volatile, no fence, no asm
guest      libraries never print, abort or exit: they are guests in other people's processes
todo       no notes to self
path       no directory of somebody's machine
length     a file of code has at most 600 lines
link       relative links in Markdown files lead somewhere, their #anchors too

A line that must break a rule says so, with the reason:   // lint-allow: RULE, because ...
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CODE = (".cpp", ".hpp", ".c", ".h")
SCRIPTS = (".sh", ".py", ".cmake", "CMakeLists.txt", os.path.join(".ci", "run"))
LENGTH_MAX = 600

# Longest first: qclient/kdb and qclient/capi are modules of their own inside qclient's folder.
MODULES = ("qclient/kdb", "qclient/capi", "shm", "qclient", "servantshim", "broker", "bench", "tests")
PUBLIC_NAME = {"shm": "shm", "kdb": "qclient/kdb", "client": "qclient", "servant": "servantshim",
               "plugin.h": "broker", "mserve.h": "qclient/capi"}
MAY_INCLUDE = {
    "shm": {"shm"}, "qclient/kdb": {"qclient/kdb"},
    "qclient": {"qclient", "shm", "qclient/kdb"},
    "servantshim": {"servantshim", "shm", "qclient/kdb"},
    "qclient/capi": {"qclient/capi", "qclient", "servantshim", "shm", "qclient/kdb"},
    "broker": {"broker", "shm", "qclient/kdb"},
    "bench": set(MODULES) - {"tests"}, "tests": set(MODULES),
}
GUESTS = ("shm/", "qclient/kdb/", "qclient/capi/", "qclient/include/", "qclient/src/lib/",
          "servantshim/include/", "servantshim/src/sdk/")
HEAVY = re.compile(r"(CLI/|spdlog/|fmt/|boost/(json|asio|beast|interprocess)\b)")
BANNED_WORDS = {"head", "tail", "push", "pop", "worker", "job", "ticket", "connection"}
ATOMIC_CALL = re.compile(
    r"(?:\.|->)\s*(load|store|exchange|fetch_(?:add|sub|and|or|xor)|compare_exchange_(?:weak|strong)|"
    r"test_and_set)\s*\(")
NOTE_TO_SELF = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}])/(?:home|root|Users|work|workspace|mnt)/\w")
TOKEN = re.compile(
    r"""(?P<comment>//(?:\\\n|[^\n])*|/\*.*?\*/)"""
    r"""|(?P<text>R"(?P<fence>[^\s()\\]{0,16})\(.*?\)(?P=fence)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+')""",
    re.DOTALL)


class Source:
    """A C++ file, split into its code (comments and literals blanked) and its comments by line."""

    def __init__(self, text):
        self.comments = {}

        def blank(match):
            body = match.group(0)
            if match.group("comment"):
                first = text.count("\n", 0, match.start()) + 1
                for offset, line in enumerate(body.split("\n")):
                    self.comments[first + offset] = self.comments.get(first + offset, "") + line
            return re.sub(r"[^\n]", " ", body)

        self.code = TOKEN.sub(blank, text)
        self.lines = self.code.split("\n")
        self.comments = {line: words for line, words in self.comments.items() if "SPDX-" not in words}

    def line_of(self, position):
        return self.code.count("\n", 0, position) + 1

    def comment_at(self, line):
        """The comments of a statement: from this line up to the comment block above its first line."""
        found = [self.comments.get(line, "")]
        above = line - 1
        # Up through the lines of the same statement, then through the comment block that stands on it.
        while above > 0 and self.lines[above - 1].strip() and not re.search(r"[;{}]\s*$", self.lines[above - 1]):
            found.append(self.comments.get(above, ""))
            above -= 1
        while above > 0 and not self.lines[above - 1].strip() and above in self.comments:
            found.append(self.comments[above])
            above -= 1
        return " ".join(found).strip()


class Linter:
    def __init__(self):
        self.faults = []

    def report(self, path, line, rule, message, context=""):
        if f"lint-allow: {rule}," not in context:
            self.faults.append((path, line, rule, message))

    def check(self, path):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            text = file.read()
        is_code, is_script = path.endswith(CODE), path.endswith(SCRIPTS)
        self.check_text(path, text)
        if is_code or is_script:
            self.check_file(path, text)
        if is_code:
            source = Source(text)
            self.check_includes(path, text, source)
            self.check_words(path, source)
            self.check_atomics(path, source)
            self.check_guest(path, source)
        if path.endswith(".md"):
            self.check_links(path, text)

    def check_text(self, path, text):
        for number, line in enumerate(text.split("\n"), 1):
            if NOTE_TO_SELF.search(line):
                self.report(path, number, "todo", "do it now or put it on the list outside the tree", line)
            if MACHINE_PATH.search(line):
                self.report(path, number, "path", "names a directory of somebody's machine", line)

    def check_file(self, path, text):
        lines = text.split("\n")
        first = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
        if "SPDX-License-Identifier: Apache-2.0" not in first:
            self.report(path, 1, "spdx", "the first line must hold SPDX-License-Identifier: Apache-2.0", first)
        if text.count("\n") > LENGTH_MAX:
            self.report(path, LENGTH_MAX + 1, "length", f"{text.count(chr(10))} lines, at most {LENGTH_MAX}")

    def check_includes(self, path, text, source):
        module = module_of(path)
        if path.endswith((".hpp", ".h")) and not re.match(r"\s*#pragma once\b", source.code):
            self.report(path, 1, "pragma", "a header starts with #pragma once, below its first comment")
        for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', text, re.MULTILINE):
            line, quote, name = source.line_of(match.start()), match.group(1), match.group(2)
            context = source.comment_at(line)
            if HEAVY.match(name) and path.endswith((".hpp", ".h")) and module not in ("tests", "bench"):
                self.report(path, line, "heavy", f"<{name}> belongs into a .cpp file", context)
            if "concurrentqueue" in name and module not in ("broker", "tests", "bench"):
                self.report(path, line, "heavy", "the moodycamel queue is the broker's alone", context)
            if ".." in name.split("/"):
                self.report(path, line, "include", f'"{name}" climbs out of its folder', context)
            elif name.startswith("mserve/") or name == "mserve.h":
                self.check_direction(path, line, module, name, context)
            elif quote == '"' and not self.is_private_header(path, module, name):
                self.report(path, line, "include", f'"{name}" is no header of {module}', context)

    def check_direction(self, path, line, module, name, context):
        name_of_owner = name.removeprefix("mserve/").split("/")[0]
        owner = PUBLIC_NAME.get(name_of_owner, name_of_owner)
        if module in MAY_INCLUDE and owner not in MAY_INCLUDE[module]:
            self.report(path, line, "include", f"{module} must not include {owner}", context)

    @staticmethod
    def is_private_header(path, module, name):
        # The last two: version.hpp.in, and what programs have in common.
        places = [os.path.dirname(path), module, f"{module}/src", ".cmake", "shm/src/program"]
        if module in ("tests", "bench"):
            places += [place for other in MODULES for place in (other, f"{other}/src")]
        return any(os.path.isfile(os.path.join(ROOT, place, name + ending))
                   for place in places for ending in ("", ".in"))

    def check_words(self, path, source):
        if not path.startswith(("shm/", "broker/src/dispatch")):
            return
        seen = set()
        # What follows . -> or :: was declared by somebody else, for instance std::deque.
        for match in re.finditer(r"(?<![\w.>:])[A-Za-z_]\w*", source.code):
            words = {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", match.group(0))}
            for word in sorted(words & BANNED_WORDS if match.group(0) not in seen else ()):
                seen.add(match.group(0))
                line = source.line_of(match.start())
                self.report(path, line, "words", f'"{match.group(0)}": {word} is not in the glossary',
                            source.comment_at(line))

    def check_atomics(self, path, source):
        for match in ATOMIC_CALL.finditer(source.code):
            arguments = argument_text(source.code, match.end())
            if not re.search(r"\b(?:std::)?memory_order|\border\b|\w_order\b", arguments):
                line = source.line_of(match.start())
                self.report(path, line, "order", f"{match.group(1)}() without a memory order",
                            source.comment_at(line))
        for match in re.finditer(r"\bmemory_order(?:_|::)(acquire|release|acq_rel|seq_cst)\b", source.code):
            line = source.line_of(match.start())
            context = source.comment_at(line)
            if match.group(1) == "seq_cst":
                if not re.search(r"\b(?:fallback|parking):", context):
                    self.report(path, line, "seq_cst", 'only with "fallback:" or "parking:" and the reason', context)
            elif module_of(path) not in ("tests", "bench") and not context:
                self.report(path, line, "reason", f"{match.group(1)} without its edge or reason", context)
        for match in re.finditer(r"\b(volatile|asm|__asm__|atomic_(?:thread|signal)_fence|__sync_synchronize|"
                                 r"_mm_[lsm]fence)\b", source.code):
            line = source.line_of(match.start())
            self.report(path, line, "volatile", f"{match.group(1)}: race detectors cannot model it",
                        source.comment_at(line))

    def check_guest(self, path, source):
        if not path.startswith(GUESTS) or path.startswith("shm/src/program/") or "/examples/" in path:
            return
        pattern = r"(?:\bstd::|(?<![\w:])::)(?:abort|exit|_exit|quick_exit|terminate|cout|cerr|clog|signal)\b"
        for match in re.finditer(pattern + r"|\b(?:printf|fprintf|puts|fputs|perror)\s*\(", source.code):
            line = source.line_of(match.start())
            self.report(path, line, "guest", f"a library does not call {match.group(0).strip('( ')}",
                        source.comment_at(line))

    def check_links(self, path, text):
        # Code blocks keep their lines but lose their content: an array index is no link.
        text = re.sub(r"```.*?```|`[^`\n]*`", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.DOTALL)
        for match in re.finditer(r"\]\(\s*<?([^)>\s]+)[^)]*\)|^\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE):
            target = match.group(1) or match.group(2)
            line = text.count("\n", 0, match.start()) + 1
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            name, _, anchor = target.partition("#")
            where = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            if not os.path.exists(os.path.join(ROOT, where)) or where.startswith(".."):
                self.report(path, line, "link", f"{target} does not exist")
            elif anchor and where.endswith(".md") and anchor not in anchors_of(where):
                self.report(path, line, "link", f"{where} has no heading #{anchor}")


def module_of(path):
    return next((module for module in MODULES if path.startswith(module + "/")), "")


def argument_text(code, position):
    """What stands between the parenthesis that ends at position and its partner."""
    depth, end = 1, position
    while depth and end < len(code):
        depth += {"(": 1, ")": -1}.get(code[end], 0)
        end += 1
    return code[position:end]


def anchors_of(path):
    """The anchors that Markdown viewers derive from the headings of a file."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        headings = re.findall(r"^#{1,6}\s+(.*?)\s*#*$", re.sub(r"```.*?```", "", file.read(), flags=re.DOTALL),
                              re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def all_files():
    for folder, folders, names in os.walk(ROOT):
        inside = os.path.relpath(folder, ROOT)
        folders[:] = sorted(name for name in folders
                            if name not in ("build", "__pycache__", "corpus")
                            and not (name.startswith(".") and name not in (".ci", ".cmake")))
        for name in sorted(names):
            path = os.path.normpath(os.path.join(inside, name))
            if path.endswith(CODE + SCRIPTS + (".md", ".in", "CMakePresets.json")):
                yield path


def main():
    if any(argument in ("-h", "--help") for argument in sys.argv[1:]):
        print(__doc__)
        return 0
    paths = [os.path.relpath(os.path.abspath(name), ROOT) for name in sys.argv[1:]] or list(all_files())
    linter = Linter()
    for path in paths:
        linter.check(path)
    for path, line, rule, message in sorted(linter.faults):
        print(f"{path}:{line}: {rule}: {message}")
    print(f"lint: {len(paths)} files, {len(linter.faults)} faults", file=sys.stderr)
    return 1 if linter.faults else 0


if __name__ == "__main__":
    sys.exit(main())
