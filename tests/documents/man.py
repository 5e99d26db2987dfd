#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: the man pages say what the tools say, and can be read. Method: render each as a reader would and compare with
--help and --check, in both directions; let mandoc and groff look for mistakes.

usage: man.py BUILD_DIR     exit status 1 when something is wrong, 77 when neither mandoc nor groff is here
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

BUILD = os.path.abspath(sys.argv[1])
COMMANDS = re.compile(r"^  ([a-z][a-z-]*)(?:  |$)", re.MULTILINE)
faults = []


def run(*command):
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": "200"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
                          env=environment)
    return done.stdout, done.stderr.strip(), done.returncode


def rendered(page):
    """As text, one line each paragraph can have, without emphasis."""
    return run("groff", "-t", "-man", "-Tutf8", "-rLL=2000n", "-P-cbou", page)[0]


def plain(text):
    text = re.sub(".\x08", "", text)
    return text.replace("‐", "-").replace("−", "-").replace("’", "'").replace("‘", "'")


def help_pages(tool, words=()):
    """What --help says of a tool and of each of its commands."""
    text = run(tool, *words, "--help")[0]
    yield text
    part = text.partition("\nSubcommands:\n")[2]
    names = COMMANDS.findall(re.split(r"\n\n\S", part)[0])
    if os.path.basename(tool) == "mserve-client" and not words:
        names.append("passwd")
    for name in names:
        yield from help_pages(tool, (*words, name))


def check_tables(page):
    """Its tables fit wherever they come to stand: once for each line that may be in front of them."""
    with open(page, encoding="utf-8") as file:
        text = file.read()
    if "\n.TS\n" not in text:
        return
    before, heading, behind = text.partition(".SH \"")
    with tempfile.NamedTemporaryFile("w", suffix=".7", encoding="utf-8") as file:
        file.write("".join(before + ".PP\nx\n" * lines + heading + behind for lines in range(66)))
        file.flush()
        _, err, _ = run("groff", "-t", "-man", "-ww", "-Tutf8", "-z", file.name)
    if err:
        faults.append(f"{os.path.basename(page)}, with more lines in front of its tables: {err[:400]}")


def options(text, indent):
    """Each option that begins a line that far in, of a help or of a page: -c,--console or -c, --console."""
    found = set()
    for line in re.findall(rf"^ {{{indent}}}(-[\w-].*)$", text, re.MULTILINE):
        found |= set(re.match(r"(--?[\w-]+)(?:, ?(--?[\w-]+))?", line).groups()) - {None}
    return found


def check_tool(tool):
    name = os.path.basename(tool)
    page = os.path.join(BUILD, "man", f"{name}.1")
    if not os.path.exists(page):
        faults.append(f"{name} has no man page")
        return
    shown = plain(rendered(page))
    flat = " ".join(shown.split())
    folded = flat.lower()
    known = set()
    if name == "mserve-bench-parts":
        # Google Benchmark's help has a form of its own.
        text = run(tool, "--help")[0]
        for option in re.findall(r"--benchmark_\w+", shown):
            if option not in text:
                faults.append(f"{name}(1) has {option}, --help has not")
        return
    for text in help_pages(tool):
        known |= options(text, 2)
        # What is said must be there too, not the names alone; spaces are the page's.
        for line in text.split("\n"):
            if line.startswith(("  -", "Usage:")) or "REQUIRED" in line:
                continue
            # Behind the name of a command or of a part, as both are headings there.
            said = re.sub(r"^(  [a-z][a-z-]*  +|[A-Z][a-z]+( [a-z]+)?: )", "", line)
            said = " ".join(said.split())
            if len(said) > 30 and said.lower() not in folded and " ".join(line.split()) not in flat:
                faults.append(f"{name}(1) lacks: {said}")
    written = options(shown, 7)
    for option in sorted(known - written):
        faults.append(f"{name}(1) lacks {option} of --help")
    for option in sorted(written - known):
        faults.append(f"{name}(1) has {option}, --help has not")


def check_keys():
    keys = set(re.findall(r"^(?:# )?([a-z][a-z0-9-]*) =", run(os.path.join(BUILD, "bin", "mserve-broker"), "--check")[0], re.MULTILINE))
    part = plain(rendered(os.path.join(BUILD, "man", "mserve.toml.5"))).partition("\nKEYS")[2].partition("\nEXAMPLES")[0]
    written = set(re.findall(r"^ {5,8}([a-z][a-z0-9-]*)(?: = |, )", part, re.MULTILINE))
    for key in sorted(keys - written):
        faults.append(f"mserve.toml(5) lacks {key}")
    for key in sorted(written - keys):
        faults.append(f"mserve.toml(5) has {key}, --check has not")
    return len(keys)


def main():
    if not shutil.which("mandoc") or not shutil.which("groff"):
        print("SKIPPED: mandoc and groff read the pages; apt-get install mandoc groff-base")
        return 77
    pages = sorted(glob.glob(os.path.join(BUILD, "man", "*.[1-8]")))
    for page in pages:
        for command in (("mandoc", "-T", "lint", "-W", "warning", page), ("groff", "-t", "-man", "-ww", "-Tutf8", "-z", page)):
            out, err, status = run(*command)
            if status or err or (out.strip() and command[0] == "mandoc"):
                faults.append(f"{' '.join(command)}: {out.strip()} {err}")
        check_tables(page)
        # A second's run makes the same bytes.
        if subprocess.run(["gzip", "-dc", page + ".gz"], capture_output=True, check=True).stdout != open(page, "rb").read():
            faults.append(f"{page}.gz is another page")
    with open(os.path.join(BUILD, "tests", "own_programs"), encoding="utf-8") as file:
        own = file.read().split()
    tools = sorted(tool for tool in glob.glob(os.path.join(BUILD, "bin", "mserve-*")) if os.path.basename(tool) not in own)
    for tool in tools:
        check_tool(tool)
    keys = check_keys()
    for page in ("mserve-protocol.7", "mserve-from-q-scripts.7"):
        if os.path.join(BUILD, "man", page) not in pages:
            faults.append(f"no {page}")
    for fault in faults[:40]:
        print(fault)
    print(f"{len(pages)} pages, {len(tools)} tools, {keys} keys; {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
