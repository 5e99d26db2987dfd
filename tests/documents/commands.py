#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: no command in a document is stale. Method: takes every command out of the Markdown files (fenced and indented
blocks, and `code` in a line) and, for each, says which of these was done:

  ran         as it stands, in a scratch directory (SCENES below)
  elsewhere   a test runs it; which one is said (ELSEWHERE)
  read        tool, command, each option and each fixed value exist; those of mserve-broker go through --check
  foreign     not ours: other people's programs (FOREIGN), q

A program that README.md shows is the text of the example that is named above it, but for its first line, the licence.

usage: commands.py SOURCE_DIR BIN_DIR [--verbose]     exit status 1 when something is stale
"""
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

SOURCE, BIN = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
sys.path.insert(0, os.path.join(SOURCE, ".cmake"))
import help_text  # noqa: E402

BENCH_PARTS = "mserve-bench-parts"  # Google Benchmark's options
TOOLS = ("mserve-broker", "mserve-cluster", "mserve-stat", "mserve-pin", "mserve-client", "mserve-servant", "mserve-qshim", "mserve-bench")


@dataclass
class Scene:
    """Blocks of a document, by what their first lines begin with, typed one after the other into one shell.
    PORT and QPORT in `replace` are ports where nobody listens, and in `before`, which is typed first."""
    document: str
    blocks: list
    before: list = field(default_factory=list)
    replace: dict = field(default_factory=dict)
    only: str = ""  # of a block in which not all can be run, the lines with this in them
    says: str = ""  # in what they print
    typed: str = ""  # on standard input


# A stand-in takes the place of q: as a servant for servant.q, silent as a client.
Q = [r"printf '#!/bin/sh\ncase \"$1\" in client*) exit;; esac\nfor last; do :; done\nfor last; do :; done\nexec mserve-standin --form plain --port \"$last\"\n' > q",
     "chmod 700 q", "touch servant.q", "export QBIN=$PWD/q QUDSPATH=$PWD"]
SCENES = (
    Scene("README.md", ["cd build/release/bin", "./mserve-stat servants"]),
    Scene("README.md", ["echo 'proc1:"], [*Q, "mserve-standin --form plain --port QPORT &"], {"5000": "PORT", "6001": "QPORT"}),
    Scene("README.md", ["./mserve-broker &"], says='"hello world"\n'),
    Scene("broker/README.md", ["mserve-stat servants"], ["mserve-broker 4 mserve-servant --servant-args '--rows 0 --tags version=1,group=old' &"]),
    Scene("broker/README.md", ["mserve-broker -p 5000 2 servant.q --check"], only="--check"),
    Scene("broker/README.md", ["mserve-broker 2 servant.q -p 5000 --users users.csv"], only="passwd", typed="secret\n"),
    Scene("broker/README.md", ["mserve-stat queries"], [*Q, "mserve-broker 1 servant.q -p PORT &", "mserve-client --name tcp://127.0.0.1:PORT 'proc1 `IBM'"],
          only="-n 50"),
)
# Run by another test, which costs more than looking at words.
ELSEWHERE = {
    "broker/quickstart.sh": "tests/ci.sh quickstart", "tests/run.sh": "CI's own way to run the tests",
    "tests/ci.sh": "CI itself", "tests/model/run.sh": "tests/ci.sh model", "tests/mutate.py": "tests/ci.sh mutation, by hand",
    "bench/setup.sh": "by hand: installs packages and builds", "bench/compare": "by hand: builds two revisions",
}
FOREIGN = {"q", "h:", "h", "neg[h]", "cd", "kill", "cp", "mkdir", "systemctl", "systemd-sysusers", "cmake", "cc", "echo", "jq",
           "sort", "uniq", "printf", "taskset", "lstopo", "apt-get", "cpack", "git", "apt", "man", "dpkg", "tar", "haproxy"}
# What a command that is right may still be refused for here: files and cores of another machine.
ELSEWHERE_ONLY = re.compile(r"not a core that|cannot be read|No such file|cannot run '(\./my-servant|q)'|^Run with --help")
# Documents in which a code span may name an option that does not exist any more.
HISTORY = ("CHANGELOG.md",)

pages = {tool: help_text.read(os.path.join(BIN, tool)) for tool in TOOLS}
faults, counted = [], {}
verbose = "--verbose" in sys.argv


def report(kind, where, command, why=""):
    counted[kind] = counted.get(kind, 0) + 1
    if verbose:
        print(f"{kind:10} {where}: {command}" + (f"  ({why})" if why else ""))


def documents():
    for folder, folders, names in os.walk(SOURCE):
        folders[:] = sorted(n for n in folders if n not in ("build", "node_modules") and not n.startswith("."))
        for name in sorted(names):
            if name.endswith(".md"):
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as file:
                    yield os.path.relpath(path, SOURCE), file.read()


def blocks(text):
    """(first line's number, lines) of each fenced or indented block."""
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        start = at + 1
        if lines[at].strip().startswith("```"):
            at += 1
            while not lines[at].strip().startswith("```"):
                at += 1
            if lines[start - 1].strip() not in ("```json", "```text", "```cpp"):  # what a tool writes, what is no command
                yield start + 1, [line.strip() for line in lines[start:at]]
        elif lines[at].startswith("    ") and lines[at].strip() and (at == 0 or not lines[at - 1].strip()):
            while at < len(lines) and lines[at].startswith("    "):
                at += 1
            yield start, [line.strip() for line in lines[start - 1:at]]
        at += 1


def spoken(line):
    """A line without what is said beside it, behind # or behind several blanks outside quotes."""
    quote = ""
    for at, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif (char == "#" and line[at - 1:at] == " ") or line[at:at + 3] == "   ":
            return line[:at].rstrip()
    return line


def parts(words):
    """The commands of a line: parted by | ; && and brackets, without assignments and redirections."""
    found = [[]]
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word and not set(word) - set("|&;()"):
            found.append([])
        elif re.match(r"\d?[<>]+$", word):
            skip = True
        elif not found[-1] and re.match(r"[A-Z_]+=", word):
            continue
        else:
            found[-1].append(word)
    return [part for part in found if part]


def words_of(line):
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&()<>")
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


def check(where, words):
    """One command with its words; says what is wrong with it."""
    first = words[0]
    name = os.path.basename(first)
    script = first.removeprefix("./")
    if script in ELSEWHERE or os.path.isfile(os.path.join(SOURCE, script)) and "/" in script:
        if not os.access(os.path.join(SOURCE, script), os.X_OK):
            faults.append(f"{where}: {script} cannot be run")
        return report("elsewhere", where, " ".join(words), ELSEWHERE.get(script, "by hand"))
    if name not in pages:
        if name not in FOREIGN | {BENCH_PARTS} and not name.startswith("mserve-test-") and not first.startswith((".", "`", "h ", "PREFIX")):
            faults.append(f"{where}: no program {first}; foreign ones are listed in {os.path.basename(__file__)}")
        return report("foreign", where, " ".join(words))
    page, known, rest, place = pages[name], list(pages[name].options()), words[1:], 0
    mention = False  # of an option, without its value
    before = ""  # the last word that stood at a place
    while rest:
        word = rest.pop(0)
        if word == "--":
            if rest:
                check(where, rest)
            break
        if word in page.commands:
            page = page.commands[word]
            known += page.options()
        elif word.startswith("-") and word != "-":
            flag, equals, value = word.partition("=")
            option = next((o for o in known if flag in o.names), None)
            if not option:
                faults.append(f"{where}: {name} has no option {flag}: {' '.join(words)}")
                continue
            if option.takes:
                value = value if equals else (rest.pop(0) if rest else "")
                mention = mention or not value
                check_value(where, flag, option.takes, value)
        elif page.commands and not page.positionals:
            faults.append(f"{where}: {name} has no command {word}: {' '.join(words)}")
        elif place < len(page.positionals):
            check_value(where, page.positionals[place].names[0], help_text.takes_behind(page.positionals[place].takes, before), word)
            before = word
            place += 1
    if name == "mserve-broker" and not mention and not re.search(r"[A-Z]{2,}|\.\.\.|\$", " ".join(words)) and "--help" not in words:
        by_check(where, words)
    report("read", where, " ".join(words))
    return None


def check_value(where, name, takes, value):
    """Capitals are placeholders, in documents as in --help; all|POLICY takes any word."""
    fixed = [] if re.search(r"\|(?!NUMBER\b)[A-Z]+(?=[|\s]|$)", takes) else help_text.fixed_values(takes)
    if fixed and value and not re.match(r"[A-Z]+$|\d+$", value) and not any(value == f or (f[-1] in ":=" and value.startswith(f)) for f in fixed):
        faults.append(f"{where}: {name} takes {' '.join(fixed)}, not {value}")


def by_check(where, words):
    """All that the broker itself finds wrong, but for what only this machine lacks."""
    with tempfile.TemporaryDirectory(prefix="mserve-test-documents.") as scratch:
        arguments = [w for w in words[1:] if w != "--check"]
        done = subprocess.run([os.path.join(BIN, "mserve-broker"), *arguments, "--check"], cwd=scratch, capture_output=True,
                              text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
                              env={"PATH": os.environ["PATH"], "MSERVE_DIR": scratch})
    if done.returncode != 0 and not all(ELSEWHERE_ONLY.search(line) for line in done.stderr.splitlines()):
        faults.append(f"{where}: {' '.join(words)}: {done.stderr.strip()}")


def check_line(where, line):
    if line.startswith("$ "):
        line = line[2:]
    line = spoken(line)
    # q's own words, file contents, output.
    if not line or re.match(r"h: |h |h\(|neg\[h\]|\(neg h\)|[a-z-]+ = |\.\.\.", line):
        return
    try:
        commands = parts(words_of(line))
    except ValueError as error:
        faults.append(f"{where}: {error}: {line}")
        return
    for words in commands:
        check(where, words)


def free_ports():
    """A port on which nobody listens, nor on the next ones, where servants will; below those that the kernel gives away."""
    for port in range(20000 + os.getpid() % 1000 * 10, 32000, 10):
        try:
            for offset in range(6):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port + offset))
            return str(port), str(port + 5)
        except OSError:
            continue
    raise SystemExit("error: no free port")


def play(scene, found):
    """Types a scene into bash as a reader would, and waits for the servants of a broker that is started."""
    port, qport = free_ports()

    def put(text):
        return text.replace("QPORT", qport).replace("PORT", port)

    lines = [put(line) for line in scene.before]
    for where, block in found:
        for line in block:
            line = spoken(line)
            if not line or line.startswith("cd ") or scene.only not in line:
                continue
            report("ran", where, line)
            for old, new in scene.replace.items():
                line = line.replace(old, put(new))
            lines.append(line)
    script = ["set -eum", "trap 'status=$?; kill $(jobs -p) 2>/dev/null || true; wait; exit $status' EXIT"]
    for line in lines:
        script += [f"echo {shlex.quote('$ ' + line)}", line]
        if match := re.match(r"(?:\./)?mserve-(?:broker (\d)\b|example-hello-servant).*&$", line):
            script.append("for try in {1..600}; do [[ $(mserve-stat --json servants 2>/dev/null | grep -o '\"number\"' | wc -l) "
                          f"-ge {match.group(1) or 1} ]] && break; sleep 0.1; done")
    with tempfile.TemporaryDirectory(prefix="mserve-test-documents.") as scratch:
        for name in os.listdir(BIN):
            os.symlink(os.path.join(BIN, name), os.path.join(scratch, name))
        environment = {**os.environ, "MSERVE_DIR": scratch, "HOME": scratch, "XDG_STATE_HOME": scratch, "PATH": f"{scratch}:{os.environ['PATH']}"}
        environment.pop("MSERVE_NAME", None)
        with open(os.path.join(scratch, "typed"), "w+", encoding="utf-8") as typed:
            typed.write(scene.typed)
            typed.seek(0)
            done = subprocess.run(["bash", "-c", "\n".join(script)], env=environment, stdin=typed, capture_output=True,
                                  text=True, timeout=240, check=False, cwd=scratch)
        if done.returncode != 0:
            faults.append(f"{found[0][0]}: this ends with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        elif scene.says not in done.stdout:
            faults.append(f"{found[0][0]}: this does not say {scene.says!r}:\n{done.stdout}\n{done.stderr}")
        elif left := [n for n in os.listdir(scratch) if n.endswith(".sock")]:
            faults.append(f"{found[0][0]}: the broker of this still runs: {left}")


def check_programs(path, text):
    """Each block of C++ against the file that the last link in front of it leads to."""
    shown = list(re.finditer(r"^```cpp\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    if not shown:
        faults.append(f"{path} shows no program")
    for match in shown:
        where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
        links = re.findall(r"\]\(([^)#]*\.cpp)\)", text[:match.start()])
        if not links:
            faults.append(f"{where}: no link above says which file this is")
            continue
        with open(os.path.join(SOURCE, links[-1]), encoding="utf-8") as file:
            licence, _, program = file.read().partition("\n")
        if not licence.startswith("// SPDX-") or program != match.group(1):
            faults.append(f"{where}: this is not {links[-1]} without its first line; copy it")
        report("program", where, links[-1])


def main():
    every_flag = {name for page in pages.values() for found in [page, *page.commands.values()] for option in found.options()
                  for name in option.names}
    texts = list(documents())
    in_scene = set()
    for scene in SCENES:
        found = []
        for start in scene.blocks:
            text = next(text for path, text in texts if path == scene.document)
            block = next(((n, lines) for n, lines in blocks(text) if lines and lines[0].startswith(start)), None)
            if not block:
                faults.append(f"{scene.document}: no block begins with {start!r} any more; tell SCENES")
                break
            found.append((f"{scene.document}:{block[0]}", block[1]))
        else:
            in_scene |= {(where, spoken(line)) for where, lines in found for line in lines if scene.only in line}
            play(scene, found)
    for path, text in texts:
        if path == "README.md":
            check_programs(path, text)
        for number, lines in blocks(text):
            joined = "\n".join(lines).replace("\\\n", " ").split("\n")
            # A block of ours has a command of ours; others show files, output or what travels.
            if any(re.match(r"(\$ )?(\./|.*\b)?(mserve-|tests/|bench/|broker/)\S+", line) for line in joined):
                output = joined[0].startswith("$ ")
                for offset, line in enumerate(joined):
                    if (not output or line.startswith("$ ")) and (f"{path}:{number}", spoken(line)) not in in_scene:
                        check_line(f"{path}:{number + offset}", line)
        prose = re.sub(r"```.*?```", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.DOTALL)
        for match in re.finditer(r"(?<!`)`([^`\n]+)`(?!`)", prose):
            where = f"{path}:{prose.count(chr(10), 0, match.start()) + 1}"
            span = match.group(1)
            if re.match(r"(\./)?(mserve-(%s) |tests/\S+\.(sh|py) |bench/compare )" % "|".join(t[7:] for t in TOOLS), span) and path not in HISTORY:
                check_line(where, span.split(" ... ")[0])
            elif re.match(r"--[a-z]", span) and path.split("/")[0] in ("README.md", "broker", "qclient", "servantshim") and path not in HISTORY:
                flag = re.match(r"--[a-z0-9-]+", span).group(0)
                if flag not in every_flag:
                    faults.append(f"{where}: no tool has {flag}; in front of another program's option write that program")
                report("read", where, span)
    for fault in faults:
        print(fault)
    print(", ".join(f"{count} {kind}" for kind, count in sorted(counted.items())) + f"; {len(faults)} stale")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
