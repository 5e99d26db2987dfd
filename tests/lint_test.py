#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each rule of lint.py, shown by a file that breaks it and by one that does not."""
import os
import tempfile
import unittest

import lint

HEADER = "// SPDX-License-Identifier: Apache-2.0\n#pragma once\n"
SPDX = "// SPDX-License-Identifier: Apache-2.0\n"


class LintTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="mserve-lint-")
        self.addCleanup(self.folder.cleanup)
        lint.ROOT = self.folder.name

    def rules(self, path, text, others=()):
        """The rules that a file with this text breaks."""
        for name, body in [(path, text), *others]:
            full = os.path.join(lint.ROOT, name)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(body)
        linter = lint.Linter()
        linter.check(path)
        return [rule for _, _, rule, _ in linter.faults]

    def test_accepts_a_plain_header(self):
        self.assertEqual(self.rules("shm/include/mserve/shm/a.hpp", HEADER + '#include "mserve/shm/b.hpp"\n'), [])

    def test_include_direction(self):
        for path, name in [("shm/src/a.cpp", "kdb"), ("qclient/kdb/src/a.cpp", "shm"), ("broker/src/a.cpp", "client"),
                           ("qclient/src/a.cpp", "servant"), ("servantshim/src/a.cpp", "client")]:
            self.assertEqual(self.rules(path, SPDX + f'#include "mserve/{name}/x.hpp"\n'), ["include"], path)
        self.assertEqual(self.rules("broker/src/a.cpp", SPDX + '#include "mserve/kdb/x.hpp"\n'), [])
        self.assertEqual(self.rules("qclient/capi/src/a.cpp", SPDX + '#include "mserve/servant/x.hpp"\n'), [])
        self.assertEqual(self.rules("qclient/capi/src/a.cpp", SPDX + '#include "mserve.h"\n'), [])
        self.assertEqual(self.rules("qclient/src/a.cpp", SPDX + '#include "mserve.h"\n'), ["include"])
        self.assertEqual(self.rules("tests/a.cpp", SPDX + '#include "mserve/client/x.hpp"\n'), [])

    def test_private_headers_stay_in_their_module(self):
        private = [("broker/src/data/x.hpp", HEADER)]
        self.assertEqual(self.rules("broker/src/a.cpp", SPDX + '#include "data/x.hpp"\n', private), [])
        self.assertEqual(self.rules("tests/a.cpp", SPDX + '#include "data/x.hpp"\n', private), [])
        self.assertEqual(self.rules("qclient/src/a.cpp", SPDX + '#include "data/x.hpp"\n', private), ["include"])
        self.assertEqual(self.rules("broker/src/b/a.cpp", SPDX + '#include "../data/x.hpp"\n', private), ["include"])

    def test_heavy_headers(self):
        self.assertEqual(self.rules("broker/src/a.hpp", HEADER + "#include <CLI/CLI.hpp>\n"), ["heavy"])
        self.assertEqual(self.rules("broker/src/a.cpp", SPDX + "#include <CLI/CLI.hpp>\n"), [])
        self.assertEqual(self.rules("qclient/src/a.cpp", SPDX + "#include <concurrentqueue.h>\n"), ["heavy"])

    def test_first_lines(self):
        self.assertEqual(self.rules("shm/src/a.cpp", "int a;\n"), ["spdx"])
        self.assertEqual(self.rules("shm/src/a.hpp", SPDX + "int a;\n"), ["pragma"])
        self.assertEqual(self.rules("tests/a.sh", "#!/usr/bin/env bash\n# " + SPDX[3:]), [])

    def test_words(self):
        self.assertEqual(self.rules("shm/src/a.cpp", SPDX + "int ring_head;\nint ring_head;\n"), ["words"])
        self.assertEqual(self.rules("broker/src/dispatch/a.cpp", SPDX + "struct WorkerPool;\n"), ["words"])
        self.assertEqual(self.rules("shm/src/a.cpp", SPDX + "void f() { list.push_back(1); }  // head\n"), [])
        self.assertEqual(self.rules("broker/src/a.cpp", SPDX + "int head;\n"), [])

    def test_memory_orders_are_spelt_and_explained(self):
        path = "shm/src/a.cpp"
        self.assertEqual(self.rules(path, SPDX + "int a = x.load();\n"), ["order"])
        self.assertEqual(self.rules(path, SPDX + "void f() { x->store(g(1),\n 2); }\n"), ["order"])
        self.assertEqual(self.rules(path, SPDX + "int a = x.load(std::memory_order_relaxed);\n"), [])
        self.assertEqual(self.rules(path, SPDX + "int a = x.load(std::memory_order_acquire);\n"), ["reason"])
        self.assertEqual(self.rules(path, SPDX + "int a = x.load(std::memory_order_acquire);  // E1\n"), [])
        above = "// E1: sees the whole frame.\nint a =\n    x.load(std::memory_order_acquire);\n"
        self.assertEqual(self.rules(path, SPDX + "\n" + above), [])
        self.assertEqual(self.rules("tests/a.cpp", SPDX + "int a = x.load(std::memory_order_acquire);\n"), [])

    def test_seq_cst_needs_its_tag(self):
        use = "int a = x.load(std::memory_order_seq_cst);  // "
        self.assertEqual(self.rules("shm/src/a.cpp", SPDX + use + "to be safe\n"), ["seq_cst"])
        self.assertEqual(self.rules("shm/src/a.cpp", SPDX + use + "fallback: no membarrier\n"), [])

    def test_volatile_fences_and_suppressions(self):
        self.assertEqual(self.rules("shm/src/a.cpp", SPDX + "volatile int a;\n"), ["volatile"])
        self.assertEqual(self.rules("shm/src/a.cpp", SPDX + "const char* a = \"volatile\";  // volatile\n"), [])
        allowed = "volatile int a;  // lint-allow: volatile, because the C standard wants it in a handler\n"
        self.assertEqual(self.rules("shm/src/a.cpp", SPDX + allowed), [])

    def test_guests_do_not_print_or_end_the_process(self):
        self.assertEqual(self.rules("qclient/src/lib/a.cpp", SPDX + "void f() { std::abort(); }\n"), ["guest"])
        self.assertEqual(self.rules("qclient/src/main.cpp", SPDX + "void f() { std::abort(); }\n"), [])
        self.assertEqual(self.rules("shm/src/a.cpp", SPDX + "void f() { ring.abort(); }\n"), [])

    def test_text(self):
        self.assertEqual(self.rules("shm/README.md", "TO" "DO: write\n"), ["todo"])
        self.assertEqual(self.rules("shm/README.md", "see /ho" "me/me/x\n"), ["path"])
        self.assertEqual(self.rules("shm/src/a.cpp", SPDX + "\n" * lint.LENGTH_MAX), ["length"])

    def test_links(self):
        self.assertEqual(self.rules("shm/README.md", "# The ring\n[a](#the-ring) [b](https://example.org)\n"), [])
        self.assertEqual(self.rules("shm/README.md", "[a](../broker/x.md)\n`[b](c)`\n"), ["link"])
        self.assertEqual(self.rules("shm/README.md", "[a](#nothing)\n"), ["link"])


if __name__ == "__main__":
    unittest.main()
