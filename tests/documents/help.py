#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: help can be read on a terminal. Method: run each tool, and each of its commands, on terminals of two widths; no
line is longer than that, no word is lost or parted, and what is said of an option stays in its column.

usage: help.py BUILD_DIR SOURCE_DIR     exit status 1 when something is wrong
"""
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

BUILD, SOURCE = (os.path.abspath(path) for path in sys.argv[1:3])
sys.path.insert(0, os.path.join(SOURCE, ".cmake"))
import help_text  # noqa: E402

TOOLS = ("mserve-broker", "mserve-bench", "mserve-client", "mserve-cluster", "mserve-pin", "mserve-qshim", "mserve-servant",
         "mserve-stat")
WORDS = re.compile(r"[\s]+|(?<=[|,])")
faults = []


def on_terminal(columns, command, variables=None):
    """What a command prints on a terminal; 0 columns: one that does not know its width."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", **(variables or {})}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=its, env=environment) as process:
        os.close(its)
        said = b""
        while True:
            try:
                got = os.read(ours, 65536)
            except OSError:  # nobody has the other end any more
                break
            if not got:
                break
            said += got
    os.close(ours)
    if process.returncode != 0:
        faults.append(f"{' '.join(command)} on a terminal: ended with {process.returncode}")
    return said.decode().replace("\r\n", "\n")


def check(tool, page):
    command = [tool, *page.words, "--help"]
    whole = help_text.run(command)
    for columns in (80, 100):
        shown = on_terminal(columns, command)
        name = f"{os.path.basename(tool)} {' '.join(page.words)} --help on {columns} columns"
        if [word for word in WORDS.split(shown) if word] != [word for word in WORDS.split(whole) if word]:
            faults.append(f"{name}: other words, or parted ones")
        for line in shown.splitlines():
            if len(line) > columns:
                faults.append(f"{name}: {len(line)} characters: {line}")
    for command in page.commands.values():
        check(tool, command)


def expect(name, shown, wanted):
    if wanted not in shown:
        faults.append(f"{name}: not there:\n{wanted}\nbut:\n{shown}")


for tool in TOOLS:
    path = os.path.join(BUILD, "bin", tool)
    if os.path.exists(path):
        check(path, help_text.read(path))

CTL = [os.path.join(BUILD, "bin", "mserve-stat"), "ctl", "--help"]
CTL_80 = """
  target all|NUMBER|name:NAME|group:NAME|tag:NAME=VALUE; of policy
      orig|even|match|least|weighted|plugin; of log-level info|warning|error
                              To which servants, or which policy or level; not
                              of reload
"""
expect("a name that is too long", on_terminal(80, CTL), CTL_80)
expect("a terminal without a width", on_terminal(0, CTL), CTL_80)
expect("COLUMNS of a terminal without a width", on_terminal(0, CTL, {"COLUMNS": "120"}),
       "\n                              To which servants, or which policy or level; not of reload\n")
expect("an option", on_terminal(80, [os.path.join(BUILD, "bin", "mserve-qshim"), "--help"]), """
  --heartbeat SECONDS [0.2]   How often a peer says that it lives; missing three
                              times it is given up, in the middle of an answer
                              25 times
""")
expect("a paragraph", on_terminal(80, [CTL[0], "--help"]), """
                                retire  drains and ends the target for good: its
                                        session is closed, its program ends by
                                        itself, and a broker that launched it
                                        does not start it again (q and shim
                                        likewise, and those that wait to be
                                        started again too): SIGTERM, and SIGKILL
                                        after the broker's --drain-timeout. A
                                        program that started several servants
                                        ends with the last of them
""")
expect("a list", on_terminal(80, [os.path.join(BUILD, "bin", "mserve-pin"), "plan", "--help"]), """
  - isolated cores first; not the first core, which the system keeps, and not
    where devices interrupt
  - data thread and gateway alone on their physical cores, SMT siblings left
    idle
""")

for fault in faults:
    print(f"FAILED: {fault}", file=sys.stderr)
print(f"{len(TOOLS)} tools, {len(faults)} faults")
sys.exit(1 if faults else 0)
