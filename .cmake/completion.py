#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the bash completion of a tool of what `TOOL --help` says.

usage: completion.py EXECUTABLE OUTPUT
"""
import os
import re
import sys

import help_text

# The same for every tool but for its name and what it knows. Works with and without the package bash-completion.
ENGINE = r'''
# What stands at the cursor is completed by what KIND says: words, files, folders, programs, hosts or users.
_NAME_offer() {
  local kind=$1 cur=$2
  case $kind in
    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    folder) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    program) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -c -- "$cur"; compgen -f -- "$cur") ;;
    host) mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur") ;;
    user) mapfile -t COMPREPLY < <(compgen -u -- "$cur") ;;
    'words '*) mapfile -t COMPREPLY < <(compgen -W "${kind#words }" -- "$cur") ;;
  esac
  # What ends like arg: or group: goes on.
  [[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} != *[:=] ]] || compopt -o nospace 2>/dev/null
}

_NAME() {
  local cur=${COMP_WORDS[COMP_CWORD]} at=1 command='' place=0 word before='' kind opened='' REPLY
  COMPREPLY=()
  # Bash parts --flag=value into three words.
  while ((at < COMP_CWORD)); do
    word=${COMP_WORDS[at]}
    ((at++))
    if [[ -n $opened ]]; then
      [[ $word == '=' ]] && continue
      opened=
    elif [[ $word == -- ]]; then
      place=$((place < 1 ? 1 : place))
    elif [[ $word == -* ]]; then
      _NAME_option "$command" "$word"
      [[ -z $REPLY ]] || opened=$word
    else
      _NAME_commands "$command"
      if [[ " $REPLY " == *" $word "* ]]; then
        command=${command:+$command }$word
        place=0
      else
        before=$word
        ((place++))
      fi
    fi
  done
  if [[ -n $opened ]]; then
    [[ $cur != '=' ]] || cur=
    _NAME_option "$command" "$opened"
    _NAME_offer "$REPLY" "$cur"
    return
  fi
  if [[ $cur == -* ]]; then
    _NAME_options "$command"
    mapfile -t COMPREPLY < <(compgen -W "$REPLY" -- "$cur")
    return
  fi
  _NAME_place "$command" "$place" "$before"
  [[ -n $REPLY ]] || _NAME_place "$command" "$place"
  kind=$REPLY
  _NAME_commands "$command"
  # Commands stand where the first word of others does.
  if [[ -n $REPLY && $place == 0 ]]; then
    [[ $kind == 'words '* ]] && kind="$kind $REPLY" || kind="words $REPLY"
  fi
  _NAME_offer "$kind" "$cur"
}

complete -F _NAME TOOL
'''

PLACES = {"COMMAND": "program", "HOST": "host", "USER": "user", "PLAN": "file"}


def kind_of(takes, names):
    """How the value of an option is completed; "" for a flag, "any" where nothing can be offered."""
    if not takes:
        return ""
    if "--dir" in names or re.match(r"DIR", takes):
        return "folder"
    values = help_text.fixed_values(takes)
    if values:
        return "words " + " ".join(values)
    if re.match(r"FILE|PATH", takes):
        return "file"
    return "any"


def walk(page):
    yield page
    for command in page.commands.values():
        yield from walk(command)


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def table(name, pages, rows):
    """A function that sets REPLY by its arguments."""
    lines = [f"{name}() {{", "  REPLY=", '  case "$*" in']
    for page in pages:
        for key, value in rows(page):
            if value:
                pattern = "|".join(key)
                lines.append(f"    {pattern}) REPLY={quoted(value)} ;;")
    return "\n".join([*lines, "  esac", "}"])


def make(tool):
    page = help_text.read(tool)
    name = os.path.basename(tool)
    function = "_" + name.replace("-", "_")
    pages = list(walk(page))

    def path(found):
        return " ".join(found.words)

    def options(found):
        return [([quoted(path(found))], " ".join(n for option in found.options() for n in option.names))]

    def option(found):
        return [([quoted(f"{path(found)} {n}") for n in option.names], kind_of(option.takes, option.names))
                for option in found.options()]

    def commands(found):
        return [([quoted(path(found))], " ".join(found.commands))]

    def place(found):
        rows = []
        for number, entry in enumerate(found.positionals):
            takes = help_text.takes_behind(entry.takes, "")
            kind = PLACES.get(entry.names[0], kind_of(takes, entry.names)).replace("any", "")
            for word in re.findall(r"; of (\S+)", entry.takes):
                rows.append(([quoted(f"{path(found)} {number} {word}")], kind_of(help_text.takes_behind(entry.takes, word), entry.names)))
            # The last may stand there again and again.
            here = quoted(f"{path(found)} ") + f"[{number}-9]*" if "..." in entry.term else quoted(f"{path(found)} {number}")
            rows.append(([here], kind))
        return rows

    text = [f"# bash completion of {name}, made of what {name} --help says.\n# shellcheck shell=bash",
            "\n# Each sets REPLY: the flags of a command, what a flag takes, the commands below it, what stands at a place.",
            table(f"{function}_options", pages, options), table(f"{function}_option", pages, option),
            table(f"{function}_commands", pages, commands),
            table(f"{function}_place", pages, place)]
    return "\n".join(text) + "\n" + ENGINE.replace("_NAME", function).replace("TOOL", name)


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    text = make(sys.argv[1])
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
