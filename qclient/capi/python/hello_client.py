#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two queries under way at once, answered by hello_servant (either one) or by any other servant with `hello`."""
import sys

import mserve

try:
    with mserve.Client(name="hello-py") as client:
        first = client.send("hello `world", repeatable=True, info=True)
        print(mserve.kdb_text(client.call("hello `world", timeout=10).payload))
        reply = client.wait_for(first, timeout=10)
        print(mserve.kdb_text(reply.payload), "from", reply.info["servant"])
except mserve.Error as error:
    sys.exit(f"{error}\n{error.advice}")
