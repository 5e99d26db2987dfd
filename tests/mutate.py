#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Weakens one memory order, barrier or zeroing of shm at a time and says which test notices.

usage: mutate.py [--jobs N] [NAME...]     all mutants without names; --list prints their names

Works in a temporary copy, with clang++-14 -fsanitize=thread ("race") for what orders payload, and with g++ -O2
("plain") for what a race detector cannot see. A mutant is caught when its tests fail. Needs clang-14 and
libclang-rt-14-dev. Takes one to three minutes on two cores.

Every acquire, release and seq_cst outside tests and bench is in a mutant or in EXPLAINED, which says why it has none.

Exit status: 0 when the unchanged code passes and every mutant that must be caught is caught; 2 when a mutant no
longer applies, because the code it changes looks different now, or when an order is in neither list.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RING, PARKING, CLOCK, CLOCK_SOURCE = "ring.hpp", "parking.hpp", "clock.hpp", "clock.cpp"
SUPPORT = ("membarrier", "futex", "errc", "clock")
TRIES = 12  # a stress test may miss a few times; twelve in a row say something
RUN_SECONDS = 600  # a hang is a hang on a busy machine too
COMPILE_SECONDS = 900  # on a machine that is busy

# Two threads on one mapping; the others are single-threaded and slow under the race detector.
RACE = ("race", "ring_test", "*TwoThreads*")
CLOCK_RACE = ("race", "clock_test", "*WhileAHelper*")
STEPS = ("plain", "ring_step_test", "*")
SINGLE = ("plain", "ring_test", "-*TwoThreads*:*RandomWords*")
BARRIER = ("plain", "parking_test", "*Membarrier*")
FALLBACK = ("plain", "parking_test", "*Fallback*")

CLEAR_END = "clear_commit_word(end);"
BEYOND = "beyond.store(0, std::memory_order_relaxed);"
BEHIND_PADDING = "commit_word_at(claimed_pos_).store(commit_word(header), std::memory_order_relaxed);"
PADDED = "publish_word(reached, padding_word(padding), seq_cst);"


def canonical(text):
    """The code without comments and layout, so that clang-format and better words make no mutant stale."""
    lines = [re.sub(r"//.*", "", line).strip() for line in text.split("\n")]
    joined = "".join("\n" + line + "\n" if line.startswith("#") else line + " " for line in lines)
    return re.sub(r"\( ", "(", re.sub(r" +(?=[. )])", "", joined))



class Mutant:
    """One change. `survives` is the reason why nothing can notice it here; then being caught is no duty."""

    def __init__(self, name, file, old, new, run, survives="", nth=0, count=1):
        self.name, self.file, self.old, self.new, self.run = name, file, old, new, run
        self.survives, self.nth, self.count = survives, nth, count

    def apply(self, text):
        """The changed text, or None when `old` does not occur as often as it did when this was written."""
        parts = text.split(self.old)
        if len(parts) != self.count + 1:
            return None
        return self.old.join(parts[:self.nth + 1]) + self.new + self.old.join(parts[self.nth + 1:])


def relaxed(order):
    return order.replace("acquire", "relaxed").replace("release", "relaxed").replace("seq_cst", "relaxed")


E1_STORE = "at.store(word, std::memory_order_release);"
E1_LOAD = "commit_word_at(consumer_pos_).load(std::memory_order_acquire)"
E2_LOAD = "memory_.consumer_pos->load(std::memory_order_acquire);"
E2_STORE = "memory_.consumer_pos->store(consumer_pos_, std::memory_order_release);"
P1_FALLBACK = "at.store(word, std::memory_order_seq_cst);"
P2_FALLBACK = "memory_.polled->load(std::memory_order_seq_cst)"
C1_FALLBACK = "polled.store(static_cast<std::uint32_t>(value), std::memory_order_seq_cst);"
C3_FALLBACK = "commit_word_at(consumer_pos_).load(std::memory_order_seq_cst)"
K1_STORE = "full_.store(1, std::memory_order_release);"
K1_LOAD = "full_.load(std::memory_order_acquire) == 0"
K2_STORE = "full_.store(0, std::memory_order_release);"
K2_LOAD = "full_.load(std::memory_order_acquire) != 0"
FENCE = "std::atomic_signal_fence(std::memory_order_seq_cst);"
RESERVE = "kRingReserveBytes = 2 * kCacheLine;"

MUTANTS = (
    Mutant("E1 store relaxed", RING, E1_STORE, relaxed(E1_STORE), RACE),
    Mutant("E1 load of front() relaxed", RING, E1_LOAD, relaxed(E1_LOAD), RACE, nth=1, count=3),
    Mutant("E1 load of ready() relaxed", RING, E1_LOAD, relaxed(E1_LOAD), RACE, nth=0, count=3,
           survives="equivalent: nothing is read before front() loads the word again"),
    Mutant("E1 load behind padding relaxed", RING, E1_LOAD, relaxed(E1_LOAD), RACE, nth=2, count=3,
           survives="equivalent: the padding's word was loaded with acquire, and it came last"),
    Mutant("E2 store relaxed", RING, E2_STORE, relaxed(E2_STORE), RACE),
    Mutant("E2 load relaxed", RING, E2_LOAD, relaxed(E2_LOAD), RACE),
    Mutant("frame behind padding committed last", RING,
           BEHIND_PADDING + " " + PADDED, PADDED + " " + BEHIND_PADDING, STEPS),
    Mutant("I3: no zero at the end of a long frame", RING, CLEAR_END, "", SINGLE),
    Mutant("I3: that zero after the commit", RING, CLEAR_END, "", STEPS),
    Mutant("I3: no zero one line beyond", RING, BEYOND, "", SINGLE),
    Mutant("I3: words of a new ring not zeroed", RING,
           "clear_commit_word(producer_pos_); clear_commit_word(producer_pos_ + kCacheLine);", "", SINGLE),
    Mutant("I1: a claim leaves one line free", RING, RESERVE, "kRingReserveBytes = kCacheLine;", SINGLE),
    Mutant("I1: a claim leaves no line free", RING, RESERVE, "kRingReserveBytes = 0;", SINGLE),
    Mutant("C2: no membarrier", PARKING, "membarrier_global_expedited();", FENCE, BARRIER),
    Mutant("P1 before P2: no signal fence", RING, FENCE, "", BARRIER,
           survives="not observable: g++ 12 does not move the load up; parking.pml's -DP2_FIRST shows what would happen"),
    Mutant("fallback: P1 release", RING, P1_FALLBACK, P1_FALLBACK.replace("seq_cst", "release"), FALLBACK),
    Mutant("fallback: P2 relaxed", RING, P2_FALLBACK, relaxed(P2_FALLBACK), FALLBACK,
           survives="not observable on x86: the same instruction"),
    Mutant("fallback: C1 relaxed", PARKING, C1_FALLBACK, relaxed(C1_FALLBACK), FALLBACK),
    Mutant("fallback: C3 relaxed", RING, C3_FALLBACK, relaxed(C3_FALLBACK), FALLBACK,
           survives="not observable on x86: the same instruction"),
    Mutant("K1 store relaxed", CLOCK_SOURCE, K1_STORE, relaxed(K1_STORE), CLOCK_RACE),
    Mutant("K1 load relaxed", CLOCK, K1_LOAD, relaxed(K1_LOAD), CLOCK_RACE),
    Mutant("K2 store relaxed", CLOCK_SOURCE, K2_STORE, relaxed(K2_STORE), CLOCK_RACE),
    Mutant("K2 load relaxed", CLOCK_SOURCE, K2_LOAD, relaxed(K2_LOAD), CLOCK_RACE),
)

# Orders without a mutant: file, what it is part of, and why no test could notice.
OTHER_PROCESS = ("between processes, which no race detector follows, and the same instruction on x86; "
                 "counters_test stores what a slower writer would leave and finds it told apart")
RACE_OF_QUEUE = "caught by SpscQueueTest.TwoThreads... of the tsan preset (tried by hand); what is built here is shm alone"
MONITOR = ("edge M1 or M2 of monitor_layout.hpp: every word is atomic and its reader another process, so no race detector "
           "sees a weaker order, and on x86 it is the same instruction")
EXPLAINED = (
    ("shm/src/counters.cpp", "header->ready.store(kReady,", OTHER_PROCESS),
    ("shm/src/counters.cpp", "header->ready.load(", OTHER_PROCESS),
    ("shm/src/counters.cpp", "->used.store(parts_->used,", OTHER_PROCESS),
    ("shm/src/counters.cpp", "header->used.load(", OTHER_PROCESS),
    ("broker/src/data/data_plane.cpp", "cold.next->load(",
     "equivalent: a hint as of ready(); nothing is read before front() loads the word again"),
    ("broker/src/spsc_queue.hpp", "taken_seen_ = taken_.load(", RACE_OF_QUEUE),
    ("broker/src/spsc_queue.hpp", "added_.store(at + 1,", RACE_OF_QUEUE),
    ("broker/src/spsc_queue.hpp", "added_.load(", RACE_OF_QUEUE),
    ("broker/src/spsc_queue.hpp", "taken_.store(at + 1,", RACE_OF_QUEUE),
    ("broker/src/control/request_log.cpp", "name.hash.load(",
     "a hint: the name that is read behind it counts only if the version is the same before and after"),
    ("broker/src/control/waker.cpp", "stop_.store(true,",
     "the queue's own orders publish what is in it, and join() all else; it names the last round"),
    ("broker/src/control/waker.cpp", "stop_.load(", "the other end of that"),
    ("shm/src/counters.cpp", "->monitor.store(suffix + 1,", MONITOR),
    ("shm/src/counters.cpp", "->monitor.load(", MONITOR),
    ("shm/src/monitor_reader.cpp", "header->ready.load(", MONITOR),
    ("shm/src/monitor_reader.cpp", "row.held.load(", MONITOR),
    ("shm/src/monitor_reader.cpp", "place.hash.load(", MONITOR),
    ("shm/src/monitor_reader.cpp", "events.load(", MONITOR),
    ("shm/src/monitor_segment.cpp", "<< 16 | kMonitorMinor,", MONITOR),
    ("shm/include/mserve/shm/monitor_layout.hpp", "words_[i].store(", MONITOR),
    ("shm/include/mserve/shm/monitor_layout.hpp", "words_[i].load(", MONITOR),
    ("shm/include/mserve/shm/monitor_layout.hpp", "value_.store(", MONITOR),
    ("shm/include/mserve/shm/monitor_layout.hpp", "value_.load(", MONITOR),
    ("broker/src/gateway/route_names.hpp", "name.hash.store(", MONITOR),
    ("broker/src/control/monitor_board.cpp", "row.held.store(", MONITOR),
    ("broker/src/control/monitor_board.cpp", ".held.store(held,", MONITOR),
    ("broker/src/control/monitor_board.cpp", "events.store(", MONITOR),
)
CODE_FOLDERS = ("shm", "qclient", "servantshim", "broker")
STRONG = re.compile(r"[^;{}]*memory_order_(?:acquire|release|acq_rel|seq_cst)[^;{}]*")


def orders_without_reason():
    """Statements with an order that is in no mutant and not explained."""
    found = []
    for folder in CODE_FOLDERS:
        for path, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in sorted(names):
                if not name.endswith((".hpp", ".cpp", ".h")):
                    continue
                where = os.path.relpath(os.path.join(path, name), ROOT)
                with open(os.path.join(ROOT, where), encoding="utf-8") as file:
                    text = canonical(file.read())
                known = [m.old for m in MUTANTS if m.file == name and folder == "shm"]
                known += [part for file, part, _ in EXPLAINED if file == where]
                # A mutant's text may end with the statement or hold several; each of its orders counts.
                for match in STRONG.finditer(text):
                    statement = match.group(0).strip()
                    if not any(old in statement or old.rstrip("; ") in statement or statement in old for old in known):
                        found.append(f"{where}: {statement}")
    return found


def changed(mutant, text):
    result = mutant.apply(canonical(text))
    if result is not None and mutant.name == "I3: that zero after the commit":
        result = result.replace(BEYOND, CLEAR_END + " " + BEYOND) if result.count(BEYOND) == 1 else None
    return result


class Workshop:
    """A folder with the objects that no mutant changes."""

    def __init__(self, folder):
        self.folder = folder
        self.both_cores = threading.Lock()
        self.include = os.path.join(ROOT, "shm", "include")
        # The race detector's runtime does not know the address layouts of newer kernels.
        self.fixed = ["setarch", "-R"] if run(["setarch", "-R", "true"]).returncode == 0 else []

    @staticmethod
    def compiler(kind):
        common = ["-std=c++20", "-pthread"]
        return (["clang++-14", "-O1", "-g1", "-fsanitize=thread"] if kind == "race" else ["g++", "-O2"]) + common

    def prepare(self, pool):
        jobs = [pool.submit(self.compile, kind, os.path.join(ROOT, "shm", "src", name + ".cpp"), self.include,
                            os.path.join(self.folder, f"{kind}-{name}.o"))
                for kind in ("race", "plain") for name in SUPPORT]
        for done in jobs:
            done.result()

    def compile(self, kind, source, include, output):
        made = run([*self.compiler(kind), "-I", include, "-I", os.path.join(ROOT, "tests"), "-c", source, "-o", output],
                   seconds=COMPILE_SECONDS)
        if made.returncode != 0:
            raise RuntimeError(f"{source} does not compile:\n{made.stdout}")

    def build(self, kind, test, include, output, source=""):
        """`source`: a changed one, in place of the unchanged object of its name."""
        self.compile(kind, os.path.join(ROOT, "tests", "unit", "shm", test + ".cpp"), include, output + ".o")
        changed_name = os.path.basename(source).removesuffix(".cpp")
        objects = [os.path.join(self.folder, f"{kind}-{name}.o") for name in SUPPORT if name != changed_name]
        if source:
            self.compile(kind, source, include, output + "-source.o")
            objects.append(output + "-source.o")
        made = run([*self.compiler(kind), output + ".o", *objects, "-lgtest", "-lgtest_main", "-o", output],
                   seconds=COMPILE_SECONDS)
        if made.returncode != 0:
            raise RuntimeError(f"{test} does not link:\n{made.stdout}")

    def test(self, program, tests):
        """How the tests ended: "" when they passed, else what failed."""
        environment = dict(os.environ, MSERVE_TEST_WATCHDOG_S="3", TSAN_OPTIONS="halt_on_error=1:exitcode=66")
        try:
            ran = run([*self.fixed, program, "--gtest_fail_fast", "--gtest_filter=" + tests], environment)
        except subprocess.TimeoutExpired:
            return "hangs"
        if "this kernel has no membarrier(" in ran.stdout:
            raise RuntimeError("this kernel has no membarrier, so its loss cannot be noticed")
        if ran.returncode == 0:
            return ""
        if "ThreadSanitizer: data race" in ran.stdout:
            return "data race"
        if "lost wake-up" in ran.stdout:
            return "lost wake-up"
        failures = [line.split("]")[1].split(",")[0].split("(")[0].strip() for line in ran.stdout.splitlines()
                    if line.startswith("[  FAILED  ]") and "." in line]
        return failures[0].split(".")[-1] if failures else f"exit status {ran.returncode}"

    def try_mutant(self, mutant, number):
        kind, test, tests = mutant.run
        include = os.path.join(self.folder, f"{number}", "include")
        shutil.copytree(self.include, include)
        sources = shutil.copytree(os.path.join(ROOT, "shm", "src"), os.path.join(self.folder, f"{number}", "src"))
        path = os.path.join(sources if mutant.file.endswith(".cpp") else os.path.join(include, "mserve", "shm"), mutant.file)
        with open(path, encoding="utf-8") as file:
            text = changed(mutant, file.read())
        if text is None:
            return None
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        program = os.path.join(self.folder, f"{number}", test)
        self.build(kind, test, include, program, os.path.join(sources, "clock.cpp") if test == "clock_test" else "")
        if test != "parking_test":
            return self.test(program, tests)
        with self.both_cores:  # two threads must really run at once
            for _ in range(1 if mutant.survives else TRIES):
                outcome = self.test(program, tests)
                if outcome:
                    return outcome
        return ""


def run(command, environment=None, seconds=RUN_SECONDS):
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=seconds, check=False)


def check_unchanged(workshop, pool):
    """Without this, a test that always fails would seem to catch everything."""
    def one(kind, test, tests):
        program = os.path.join(workshop.folder, f"unchanged-{kind}-{test}")
        workshop.build(kind, test, workshop.include, program)
        return workshop.test(program, tests)

    runs = [RACE, CLOCK_RACE, ("plain", "ring_test", "*"), STEPS, ("plain", "parking_test", "*")]
    outcomes = list(pool.map(lambda r: one(*r), runs))
    for (kind, test, _), outcome in zip(runs, outcomes):
        print(f"{'unchanged: ' + test:42} {kind:6} {outcome or 'passes'}")
    return not any(outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="compilers and tests at once")
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants whose name contains this")
    options = parser.parse_args()
    mutants = [m for m in MUTANTS if not options.names or any(name in m.name for name in options.names)]
    if options.list:
        print("\n".join(m.name for m in mutants))
        return 0
    bad, stale, gone, caught = 0, 0, 0, 0
    for statement in orders_without_reason():
        print(f"neither mutant nor explanation: {statement}")
        stale += 1
    alone = len(os.sched_getaffinity(0)) < 2
    with tempfile.TemporaryDirectory(prefix="mserve-test-mutate.") as folder, \
            concurrent.futures.ThreadPoolExecutor(max(1, options.jobs)) as pool:
        workshop = Workshop(folder)
        workshop.prepare(pool)
        if not check_unchanged(workshop, pool):
            return 1
        outcomes = pool.map(lambda pair: workshop.try_mutant(pair[1], pair[0]), enumerate(mutants))
        for mutant, outcome in zip(mutants, outcomes):
            if outcome is None:
                verdict, gone = "does not apply any more: adjust tests/mutate.py", gone + 1
            elif outcome:
                verdict, caught = f"caught: {outcome}", caught + 1
            elif mutant.survives:
                verdict = f"survives: {mutant.survives}"
            elif alone and mutant.run in (BARRIER, FALLBACK):
                verdict = "survives: not observable with one core"
            else:
                verdict, bad = "NOT CAUGHT", bad + 1
            print(f"{mutant.name:42} {mutant.run[0]:6} {verdict}", flush=True)
    rest = len(mutants) - caught - bad - gone
    print(f"{caught} caught, {bad} not caught, {rest} cannot be caught, {stale + gone} stale; {len(EXPLAINED)} orders without a mutant")
    return 2 if stale or gone else 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
