#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a man page of a Markdown source, with what a tool says of itself.

usage: man_page.py SOURCE.md OUTPUT --version VERSION --date DATE [--tool EXECUTABLE]

SOURCE is NAME.SECTION.md. It begins with `# NAME: what it is`. A line of these is replaced:
  <!-- help -->                 synopsis, description, options, environment, exit status: the words of --help
  <!-- keys -->                 the keys of the configuration file: --help and --check of the broker
  <!-- values FILE#ENUM -->     the values of an enumeration in a header, with what its comments say
  <!-- include FILE#ANCHOR -->  a section of another document, or all behind a heading with FILE#ANCHOR-
OUTPUT is written, and OUTPUT.gz beside it, which has no time in it.
"""
import argparse
import gzip
import os
import re
import sys

import help_text

SECTIONS = {"1": "User Commands", "5": "File Formats", "7": "Miscellaneous"}


def escape(text):
    """Plain text as roff: nothing in it is a request, and a minus stays one that can be copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti")
    return "".join(c if ord(c) < 128 else f"\\[u{ord(c):04X}]" for c in text)


def guard(line):
    return "\\&" + line if line.startswith((".", "'")) else line


def inline(text):
    """Markdown's inline marks: `code` and **bold** are bold, a link is its text."""
    out = []
    pattern = r"``\s?(.+?)\s?``|`([^`]+)`|\*\*(.+?)\*\*|!?\[([^\]]*)\]\(([^)]*)\)|(?<!\w)\*([^*\s][^*]*)\*(?!\w)"
    last = 0
    for match in re.finditer(pattern, text):
        out.append(escape(text[last:match.start()]))
        last = match.end()
        if match.group(1) or match.group(2):
            out.append("\\fB" + escape(match.group(1) or match.group(2)) + "\\fR")
        elif match.group(3):
            # Marks inside bold are bold anyway.
            out.append("\\fB" + escape(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match.group(3)).replace("`", "")) + "\\fR")
        elif match.group(6):
            out.append("\\fI" + escape(match.group(6)) + "\\fR")
        else:
            out.append(inline(match.group(4)))
    out.append(escape(text[last:]))
    return "".join(out)


def verbatim(lines):
    while lines and not lines[-1].strip():
        lines.pop()
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [".PP", ".RS 4", ".EX", *(guard(escape(line[margin:])) or "\\&" for line in lines), ".EE", ".RE"]


class Page:
    def __init__(self, folder):
        self.folder = folder
        self.out = []
        self.tables = False

    # -- the words of --help ------------------------------------------------------------------------------------

    def prose(self, lines):
        """Paragraphs at the margin are filled, what is indented stays as it is."""
        at = 0
        while at < len(lines):
            start = at
            if not lines[at].strip():
                at += 1
            elif lines[at].startswith("  "):
                while at < len(lines) and (lines[at].startswith("  ") or
                                           (not lines[at].strip() and at + 1 < len(lines) and lines[at + 1].startswith("  "))):
                    at += 1
                self.out += verbatim(lines[start:at])
            else:
                at += 1
                # Behind a full stop "QBIN: ..." begins something new.
                while at < len(lines) and lines[at].strip() and not lines[at].startswith("  ") and not (
                        lines[at - 1].endswith(".") and re.match(r"[A-Z_]{4,}(, [A-Z_]+)*: ", lines[at])):
                    at += 1
                self.out += [".PP", *(guard(inline_help(line)) for line in lines[start:at])]

    def entries(self, entries):
        for entry in entries:
            names, _, rest = re.sub(r"( TEXT)? REQUIRED$", "", entry.term).partition(" ")
            term = ", ".join(f"\\fB{escape(name)}\\fR" for name in names.split(","))
            self.out += [".TP", term + (" " + escape(rest) if rest else "")]
            text = entry.text.split("\n")
            # A text may hold paragraphs and indented lines of its own, as that of `mserve-stat ctl` does.
            if any(not line.strip() or line.startswith("  ") for line in text):
                self.out.append(inline_help(text[0]))
                self.out.append(".RS")
                self.prose(text[1:])
                self.out.append(".RE")
            else:
                self.out += [guard(inline_help(line)) for line in text] if entry.text else ["\\&"]

    def labelled(self, parts):
        for label, lines in parts:
            if label:
                title = "EXAMPLES" if label.startswith("Example") else label.replace("codes", "status").upper()
                self.out.append(f".SH \"{title}\"")
            else:
                self.out.append(".SH NOTES")
            self.prose(lines)

    def help(self, page):
        name = page.usage.split()[0]
        self.out.append(".SH SYNOPSIS")
        usages = []
        for command in page.commands.values():
            usages.append(command.usage)
            for inner in command.commands.values():
                # With commands below it, it has no use of its own.
                usages += [below.usage for below in inner.commands.values()] or [inner.usage]
        # With commands that each have a line, OPTIONS SUBCOMMAND says nothing.
        if not usages or not page.usage.endswith("SUBCOMMAND"):
            usages.insert(0, page.usage)
        for number, usage in enumerate(usages):
            words = usage.split()
            bold = next((at for at, word in enumerate(words) if word.startswith("[")), len(words))
            if number:
                self.out.append(".br")
            self.out.append("\\fB" + escape(" ".join(words[:bold])) + "\\fR " + escape(" ".join(words[bold:])))
        self.out.append(".SH DESCRIPTION")
        self.prose(page.description)
        self.out.append(".SH OPTIONS")
        self.entries(page.positionals)
        for title, found in page.groups:
            if title != "Options":
                self.out.append(f".SS \"{escape(title)}\"")
            self.entries(found)
        if page.commands:
            self.out.append(".SH COMMANDS")
        self.commands(name, page)
        self.labelled(help_text.labelled(page.footer))

    def commands(self, name, page):
        for word, command in page.commands.items():
            self.out.append(f".SS \"{escape(name)} {escape(word)}\"")
            # What the list of commands says of it, where that is not how its own page begins.
            short = next((entry.text for entry in page.subcommands if entry.names[0] == word), "")
            if short and short.split("\n")[0] != command.description[0]:
                self.prose([short[0].upper() + short[1:] + "."])
            self.prose(command.description)
            self.entries(command.positionals)
            for _, found in command.groups:
                self.entries([option for option in found if option.names[0] != "-h"])
            if command.footer != page.footer:
                for _, lines in help_text.labelled(command.footer):
                    self.prose([line for line in lines if line not in page.footer])
            self.commands(f"{name} {word}", command)

    def keys(self, tool):
        """The configuration file: what --check prints, in the groups of --help."""
        page = help_text.read(tool)
        known = {option.names[-1][2:]: (title, option) for title, options in page.groups for option in options}
        positionals = {"servants": "N", "command": "COMMAND", "hosts": "HOST"}
        group, said = None, ""
        for line in help_text.run([tool, "--check"]).splitlines():
            match = re.match(r"(?:# )?([a-z][a-z0-9-]*) = ?(.*)$", line)
            if not match:
                said = f"{said} {line[2:]}".strip()
                continue
            key, value = match.groups()
            title, option = known.get(key, (None, None))
            if title and title != group:
                group = title
                self.out.append(f".SS \"{'General' if group == 'Options' else escape(group)}\"")
            takes = option.takes if option else positionals[key]
            default = re.search(r"\[([^\]]*)\]$", takes)
            if value:
                shown = f" = {value}"
            else:
                shown = f", without it: {default.group(1)}" if default and default.group(1) != "none" else ", not set"
            kind = re.sub(r"\s*\[.*$|=.*$", "", takes) if option else takes
            self.out += [".TP", f"\\fB{escape(key)}\\fR{escape(shown)}"]
            self.out.append(guard(escape(said)))
            if kind:
                self.out += [".br", "Takes: " + escape(kind)]
            said = ""

    def values(self, path, name):
        with open(os.path.join(self.folder, path), encoding="utf-8") as file:
            body = re.search(rf"enum class {name}\b[^{{]*{{(.*?)\n}};", file.read(), re.DOTALL).group(1)
        for word, number, said in re.findall(r"(\w+) = (\d+),(?:\s*///< (.*))?", body):
            self.out += [".TP", f"\\fB{number}\\fR {escape(word)}", guard(escape(said)) or "\\&"]

    # -- Markdown -----------------------------------------------------------------------------------------------

    def markdown(self, text, tool):
        lines = text.split("\n")
        at = 0
        while at < len(lines):
            line = lines[at]
            directive = re.match(r"<!-- (help|keys|values|include)\s*(\S*) -->$", line)
            heading = re.match(r"(#{2,4}) (.*)$", line)
            at += 1
            if directive:
                self.directive(directive.group(1), directive.group(2), tool)
            elif line.startswith("```"):
                start = at
                while not lines[at].startswith("```"):
                    at += 1
                self.out += verbatim(lines[start:at])
                at += 1
            elif heading:
                title = re.sub(r"[`*]", "", heading.group(2))
                level = "SH" if len(heading.group(1)) == 2 else "SS"
                self.out.append(f".{level} \"{escape(title.upper() if level == 'SH' else title)}\"")
            elif line.startswith("|"):
                start = at - 1
                while at < len(lines) and lines[at].startswith("|"):
                    at += 1
                self.table(lines[start:at])
            elif line.startswith("    ") and line.strip():
                start = at - 1
                while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                    at += 1
                self.out += verbatim(lines[start:at])
            elif line.startswith("!["):
                continue
            elif line.startswith("* ") or re.match(r"\d+\. ", line):
                mark, _, rest = line.partition(" ")
                body = [rest]
                while at < len(lines) and lines[at].startswith("  ") and lines[at].strip():
                    body.append(lines[at].strip())
                    at += 1
                tag = "\\(bu 2" if mark == "*" else f"{mark} 4"
                self.out += [f".IP {tag}", guard(inline(" ".join(body)))]
            elif line.strip():
                body = [line]
                while at < len(lines) and lines[at].strip() and not re.match(r"[|#]|\* |```|<!--|\d+\. ", lines[at]):
                    body.append(lines[at])
                    at += 1
                self.out += [".PP", guard(inline(" ".join(body)))]

    def directive(self, what, target, tool):
        if what in ("help", "keys") and not tool:
            raise SystemExit(f"error: <!-- {what} --> needs --tool")
        path, _, anchor = target.partition("#")
        if what == "help":
            self.help(help_text.read(tool))
        elif what == "keys":
            self.keys(tool)
        elif what == "values":
            self.values(path, anchor)
        else:
            with open(os.path.join(self.folder, path), encoding="utf-8") as file:
                self.markdown(section(file.read(), anchor, target), tool)

    def table(self, lines):
        rows = [split_row(line) for line in lines]
        header, rows = rows[0], rows[2:]
        if len(header) == 2 or all(len(row) == 2 for row in rows):
            if any(header) and header[1] != "what":
                self.out += [".PP", "\\fI" + escape(": ".join(re.sub(r"[`*]", "", cell) for cell in header)) + "\\fR"]
            for row in rows:
                self.out += [".TP", guard(inline(row[0])) or "\\&", guard(inline(row[1])) or "\\&"]
            return
        self.tables = True
        columns = len(header)
        longest = [max(len(row[i]) for row in [header, *rows]) for i in range(columns)]
        form = ["lx" if length > 22 else "l" for length in longest]
        if "lx" not in form:
            form[-1] = "lx"
        # tbl refuses a block of text that is higher than what is left of the page, a full one too: it wants room first.
        block_max = max((len(cell) for row in rows for cell, f in zip(row, form) if f == "lx"), default=0)
        self.out += [".PP", f".ne {min(2 + block_max // 20, 40)}v", ".TS", "tab(\t);", " ".join(f.replace("l", "lb", 1) for f in form), " ".join(form) + "."]
        for row in [header, *rows]:
            row = row + [""] * (columns - len(row))
            self.out.append("\t".join(f"T{{\n.na\n{guard(inline(cell))}\nT}}" if f == "lx" and cell else inline(cell)
                                      for cell, f in zip(row, form)))
        self.out.append(".TE")


def split_row(line):
    """The cells of a row; a bar inside `code` parts none."""
    cells, code = [""], ""
    body = line.strip()[1:]
    if body.endswith("|"):
        body = body[:-1]
    for match in re.finditer(r"\\\||`+|\||[^`|\\]+|\\", body):
        token = match.group(0)
        if token.startswith("`") and code in ("", token):
            code = "" if code else token
        if token == "|" and not code:
            cells.append("")
        else:
            cells[-1] += "|" if token == "\\|" else token
    return [cell.strip() for cell in cells]


def inline_help(line):
    """Help texts know no marks; options and variables in them stand out all the same."""
    return re.sub(r"(?<![\w\\])(\\-(?:\\-)?[a-z][a-z\\-]*|\bMSERVE_[A-Z_]+)", r"\\fB\1\\fR", escape(line))


def anchor_of(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def section(text, anchor, target):
    """What stands below a heading; with ANCHOR- that heading and all behind it."""
    on = anchor.endswith("-") and anchor[:-1] in map(anchor_of, re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    wanted = anchor[:-1] if on else anchor
    found = []
    level = 0
    fenced = False
    for line in text.split("\n"):
        fenced ^= line.startswith("```")
        match = None if fenced else re.match(r"(#+) (.*)$", line)
        if match and not level and anchor_of(match.group(2)) == wanted:
            level = len(match.group(1))
            if on:
                found.append(line)
            continue
        if match and level and not on and len(match.group(1)) <= level:
            break
        if level:
            found.append(line)
    if not level:
        raise SystemExit(f"error: no heading {target}")
    return "\n".join(found)


def make(source, tool, version, date):
    with open(source, encoding="utf-8") as file:
        text = file.read()
    name, number = re.match(r"(.*)\.(\d)\.md$", os.path.basename(source)).groups()
    title, _, rest = text.partition("\n")
    match = re.match(r"# (\S+): (.*)$", title)
    if not match or match.group(1) != name:
        raise SystemExit(f"error: {source}:1: expected  # {name}: what it is")
    page = Page(os.path.dirname(source))
    page.markdown(rest, tool)
    # mandoc and man find tbl's input by the first line.
    first = ["'\\\" t"] if page.tables else []
    top = [f".\\\" Made of {os.path.basename(source)} and of what the tools say of themselves; change those.",
           f".TH {name.upper()} {number} {date} \"mserve {version}\" \"{SECTIONS[number]}\"", ".nh", ".ad l",
           ".SH NAME", f"{escape(name)} \\- {inline(match.group(2))}"]
    return "\n".join([*first, *top, *tidy(page.out)]) + "\n"


def tidy(lines):
    """A paragraph request in front of a heading, or behind one, is nothing but a warning."""
    out = []
    for line in lines:
        if line == ".PP" and out and out[-1].startswith((".SH", ".SS", ".PP", ".RS")):
            continue
        if line.startswith((".SH", ".SS")) and out and out[-1] == ".PP":
            out.pop()
        out.append(line)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("output")
    parser.add_argument("--version", required=True)
    parser.add_argument("--date", required=True)
    parser.add_argument("--tool")
    arguments = parser.parse_args()
    text = make(arguments.source, arguments.tool, arguments.version, arguments.date).encode()
    with open(arguments.output, "wb") as file:
        file.write(text)
    with open(arguments.output + ".gz", "wb") as file:
        file.write(gzip.compress(text, 9, mtime=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
