# SPDX-License-Identifier: Apache-2.0
"""What `TOOL --help` says, taken apart. Man pages and completions are made of it, so their words are its words."""
import os
import re
import subprocess
from dataclasses import dataclass, field

# Where CLI11 begins what it says about an option; a longer name has a line of its own.
COLUMN = 30
# Commands that a tool takes for a query unless they come first, and so does not list.
UNLISTED = {"mserve-client": ["passwd"]}
# Footers begin a part of their own with these words.
LABELS = ("Environment", "Signals", "Exit status", "Exit codes", "Examples", "Example", "Servant protocols")


@dataclass
class Entry:
    """An option, a positional or a subcommand: `-p,--port PORT [none]` and what is said about it."""
    term: str
    text: str

    @property
    def names(self):
        """-p, --port; of a positional or subcommand its name."""
        return self.term.split()[0].split(",")

    @property
    def takes(self):
        """Behind the names: PORT [none]; empty for a flag."""
        rest = re.sub(r"\s*(Excludes|Needs):.*$", "", self.term)
        return " ".join(rest.split()[1:])


@dataclass
class Help:
    """One page of help. Groups are (title, options); commands are the pages of its subcommands, by name."""
    words: list
    description: list = field(default_factory=list)
    usage: str = ""
    positionals: list = field(default_factory=list)
    groups: list = field(default_factory=list)
    subcommands: list = field(default_factory=list)
    footer: list = field(default_factory=list)
    commands: dict = field(default_factory=dict)

    def options(self):
        return [option for _, options in self.groups for option in options]


def run(command):
    """What a tool prints, whoever builds: none of our variables, a home or a terminal changes it."""
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          check=False)
    if done.returncode != 0:
        raise SystemExit(f"error: {' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def read(tool, words=()):
    """The help of a tool, or of one of its subcommands, with all below it."""
    page = parse(run([tool, *words, "--help"]).splitlines(), list(words))
    names = [entry.names[0] for entry in page.subcommands]
    for name in names + (UNLISTED.get(os.path.basename(tool), []) if not words else []):
        page.commands[name] = read(tool, (*words, name))
    return page


def parse(lines, words):
    page = Help(words)
    at = next(number for number, line in enumerate(lines) if line.startswith("Usage:"))
    page.description = lines[:at]
    page.usage = lines[at][len("Usage:"):].strip()
    # Command names stand as they are found; which path led to them is no matter.
    page.usage = re.sub(r"^\S*/", "", page.usage)
    at += 1
    while at < len(lines):
        line = lines[at]
        following = lines[at + 1] if at + 1 < len(lines) else ""
        heading = line.endswith(":") and not line.startswith(" ")
        if line in ("Positionals:", "Subcommands:") or (heading and following.startswith("  -")):
            entries, at = parse_entries(lines, at + 1)
            if line == "Positionals:":
                page.positionals = entries
            elif line == "Subcommands:":
                page.subcommands = entries
            else:
                page.groups.append((line[:-1], entries))
        elif line.strip():
            page.footer = lines[at:]
            break
        else:
            at += 1
    return page


def parse_entries(lines, at):
    entries = []
    while at < len(lines) and lines[at].startswith("  "):
        line = lines[at]
        at += 1
        more = []
        while at < len(lines) and lines[at].startswith(" " * COLUMN):
            more.append(lines[at][COLUMN:])
            at += 1
        alone = len(line) > COLUMN and more and "  " not in line.strip()
        if alone or len(line) <= COLUMN:
            term, text = line.strip(), more
        else:
            term, text = line[:COLUMN].strip(), [line[COLUMN:], *more]
        entries.append(Entry(term, "\n".join(text).rstrip()))
    return entries, at


def labelled(lines):
    """A footer as (label, lines): label "" for what belongs to none."""
    parts, label, found = [], "", []

    def end():
        while found and not found[-1].strip():
            found.pop()
        if found:
            parts.append((label, list(found)))
        found.clear()

    for line in lines:
        match = re.match(r"(%s)(?:, [^:]*)?:\s*" % "|".join(LABELS), line)
        if match:
            end()
            label = match.group(1)
            # "Example, with a broker that ...:" says more than the name of a section.
            rest = line[match.end():] if "," not in match.group(0) else line
            if rest:
                found.append(rest)
        elif not line.startswith(" ") and line.strip() and found and not found[-1].strip():
            # A new paragraph at the margin belongs to no label any more.
            end()
            label = ""
            found.append(line)
        else:
            found.append(line)
    end()
    return parts


def takes_behind(takes, word):
    """What stands behind that word, of `A|B; of WORD C|D`; behind any other, A|B."""
    first, *others = takes.split("; of ")
    return next((other.partition(" ")[2] for other in others if other.split()[0] == word), first)


def fixed_values(takes):
    """The words of spin|yield|park or TEXT:{spin,yield}; of arg:N what is fixed of it. Empty if anything goes."""
    match = re.search(r":\{([^}]*)\}", takes)
    if match:
        return match.group(1).split(",")
    first = takes.split()[0] if takes else ""
    if "|" not in first:
        return []
    words = [re.match(r"[^A-Z]*", word).group(0) for word in first.split("|")]
    return [word for word in words if word and word != ":"]
