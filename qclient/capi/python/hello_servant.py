#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A servant that greets. With a broker running (mserve-broker), start it, then: mserve-client 'hello `world'"""
import re
import signal
import sys

import mserve


def answer(request):
    # A query is what somebody sent: it is taken apart, never evaluated.
    call = re.fullmatch(r"hello `(\w+)", mserve.kdb_text(request.payload) or "")
    if call:
        request.reply(f"hello {call[1]}")
    else:
        request.fail("unknown command")


try:
    with mserve.Servant(name="hello-py") as servant:
        signal.signal(signal.SIGTERM, lambda *_: servant.stop())
        for request in servant:
            answer(request)
except mserve.Error as error:
    sys.exit(f"{error}\n{error.advice}")
