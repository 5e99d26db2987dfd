# SPDX-License-Identifier: Apache-2.0
"""mserve.py at the broker of $MSERVE_DIR: what its examples do not show. Run by embedding.sh.

usage: embedding_test.py HEADER   (mserve.h)
"""
import re
import select
import sys
import threading
import unittest

import mserve


HEADER = sys.argv.pop(1)


class Numbers(unittest.TestCase):
    def test_statuses_are_those_of_the_header(self):
        with open(HEADER, encoding="utf-8") as file:
            statuses = re.search(r"enum \{\n  MSERVE_OK = 0.*?\};", file.read(), re.DOTALL)[0]
        pairs = re.findall(r"\bMSERVE_(\w+) = (\d+)", statuses)
        self.assertGreater(len(pairs), 30)
        for name, number in pairs:
            self.assertEqual(getattr(mserve, name), int(number), name)


class Both(unittest.TestCase):
    def setUp(self):
        self.client = mserve.Client()
        self.servant = mserve.Servant(name="both", credit=2)
        # The broker takes a moment until it sends requests to a servant that has just attached.
        request, received = self.client.send(b"are you there?"), None
        while received is None:
            received = self.servant.receive(timeout=0.01)
            try:
                self.client.poll()
            except mserve.Error as error:
                self.assertEqual(error.status, mserve.NO_SERVANT)
                request = self.client.send(b"are you there?")
        received.reply(b"yes")
        self.assertEqual(self.client.wait_for(request, timeout=60).payload, b"yes")

    def tearDown(self):
        self.client.close()
        self.servant.close()

    def test_bytes_are_opaque_and_come_back_as_they_are(self):
        data = bytes(range(256)) * 4096  # a megabyte, with zeros in it
        received = []

        def serve():
            received.append(self.servant.receive(timeout=60))
            received[0].reply(received[0].payload)

        # A servant of its own thread: whoever waits for room needs somebody who reads.
        thread = threading.Thread(target=serve)
        thread.start()
        reply = self.client.call(data, info=True, timeout=60)
        thread.join()
        self.assertNotIsInstance(received[0].payload, mserve.Kdb)
        self.assertEqual(reply.payload, data)
        self.assertEqual(reply.info["servant"], "both")

    def test_empty_payloads(self):
        request = self.client.send(b"")
        self.servant.receive(timeout=60).reply(b"")
        self.assertEqual(self.client.wait_for(request, timeout=60).payload, b"")

    def test_objects_stay_objects_and_texts_are_strings(self):
        request = self.client.send(mserve.Kdb(b"\xf5IBM\0"))
        received = self.servant.receive(timeout=60)
        self.assertEqual(mserve.kdb_text(received.payload), "IBM")
        received.reply("prix en \u20ac")
        reply = self.client.wait_for(request, timeout=60)
        self.assertIsInstance(reply.payload, mserve.Kdb)
        self.assertEqual(mserve.kdb_text(reply.payload), "prix en \u20ac")

    def test_errors_have_status_text_and_advice(self):
        request = self.client.send("f 1")
        received = self.servant.receive(timeout=60)
        with self.assertRaises(mserve.Error) as caught:
            received.reply(mserve.Kdb(b"junk"))
        self.assertEqual(caught.exception.status, mserve.INVALID)
        received.fail("type")
        with self.assertRaises(mserve.Error) as caught:
            self.client.wait_for(request, timeout=60)
        self.assertEqual((caught.exception.status, str(caught.exception)), (mserve.FAILED, "type"))
        self.assertTrue(caught.exception.advice)
        with self.assertRaises(mserve.Error) as caught:
            received.reply(b"twice")
        self.assertEqual(caught.exception.status, mserve.INVALID)
        with self.assertRaises(mserve.Error) as caught:
            mserve.Client("nobody")
        self.assertEqual(caught.exception.status, mserve.NO_BROKER)

    def test_time_outs(self):
        self.assertIsNone(self.client.wait(timeout=0))
        self.assertIsNone(self.client.poll())
        self.assertIsNone(self.servant.receive(timeout=0.15))
        with self.assertRaises(mserve.Error) as caught:
            self.client.call(b"x", timeout=0)
        self.assertEqual(caught.exception.status, mserve.TIMED_OUT)
        self.assertFalse(self.client.cancel(1))

    def test_event_loop(self):
        request = self.client.send(b"x")
        received = self.servant.receive(timeout=60)
        thread = threading.Thread(target=received.reply, args=(b"y",))
        reply = None
        thread.start()
        while reply is None:
            if self.client.prepare_sleep():
                select.select([self.client], [], [], 60)
            self.client.finish_sleep()
            reply = self.client.poll()
        thread.join()
        self.assertEqual((reply.id, reply.payload), (request, b"y"))

    def test_stop_comes_from_another_thread(self):
        stopping = threading.Timer(0, self.servant.stop)
        stopping.start()
        self.assertEqual(list(self.servant), [])
        stopping.join()

    def test_what_was_closed_is_refused(self):
        request = self.client.send(b"x")
        received = self.servant.receive(timeout=60)
        self.servant.close()
        self.servant.close()
        with self.assertRaises(mserve.Error):
            received.reply(b"y")
        with self.assertRaises(mserve.Error) as caught:
            self.client.wait_for(request, timeout=60)
        self.assertEqual(caught.exception.status, mserve.SERVANT_DIED)
        self.client.close()
        with self.assertRaises(mserve.Error) as caught:
            self.client.send(b"x")
        self.assertEqual(caught.exception.status, mserve.INVALID)


unittest.main()
