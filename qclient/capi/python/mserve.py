# SPDX-License-Identifier: Apache-2.0
"""mserve from Python: ask a broker, serve one. One file, standard library only; it loads libmserve.so.1.

    with mserve.Client() as client:                       # the broker of $MSERVE_NAME, else "default"
        print(client.call("proc1 `IBM").payload)          # str: q text; bytes: opaque; Kdb(bytes): an object

    with mserve.Servant(name="adder") as servant:
        for request in servant:                           # ends when an operator retires it, or on stop()
            request.reply(b"done")                        # or request.fail("why not")

Payloads are bytes, copied on the way: kdb+ objects are what follows the 8-byte header of an IPC message, so
any encoder will do (qpython, pykx: skip the header). kdb_string() and kdb_text() are enough for texts.
Failures raise Error, whose `status` is one of the constants below. Times are seconds; None waits for ever.
One thread at a time per Client or Servant, any number of them; Servant.stop() may come from any thread.
The library is sought where $MSERVE_LIBRARY says, else by the system's loader. mserve.h has the whole story.
"""
import ctypes
import os
import time
from ctypes import POINTER, byref, c_char, c_char_p, c_int32, c_size_t, c_uint32, c_uint64, c_void_p

OK, FULL, EMPTY, TIMED_OUT, TOO_LARGE, DISCONNECTED, NOT_ATTACHED, INVALID = range(8)
OS, NO_BROKER, ACCESS, NO_MEMORY, IN_USE, UNSAFE_DIRECTORY = range(20, 26)
PROTOCOL, VERSION_MISMATCH, CURSOR_OUT_OF_RANGE, BAD_FRAME, BAD_SEGMENT, POISONED = range(40, 46)
(BUSY, NO_SERVANT, SERVANT_DIED, SHUTDOWN, CANCELLED, STALLED, FAILED, SLOW_READER, INTERNAL, QUEUE_TIMEOUT,
 RETIRED) = range(60, 71)

_KDB, _PAIR, _OPAQUE, _TEXT = range(4)
_REPEATABLE, _WANT_INFO = 1, 2
_FOREVER = 2**64 - 1
_ABI_MAJOR = 1
# A call into the library cannot be interrupted: waits for others are cut into pieces of this, so that Ctrl-C works.
_SLICE = 0.1


class _Struct(ctypes.Structure):
    def __init__(self, **members):
        super().__init__(size=ctypes.sizeof(self), **members)


class _ClientOptions(_Struct):
    _fields_ = [("size", c_uint32), ("flags", c_uint32), ("broker", c_char_p), ("user", c_char_p),
                ("password", c_char_p), ("directory", c_char_p), ("name", c_char_p), ("idle", c_uint32),
                ("ring_bytes", c_uint32), ("in_flight_max", c_uint32), ("reserved", c_uint32),
                ("message_bytes_max", c_uint64), ("unread_bytes_max", c_uint64), ("attach_ns_max", c_uint64),
                ("connect_ns_max", c_uint64), ("resend_ns_max", c_uint64)]


class _SendOptions(_Struct):
    _fields_ = [("size", c_uint32), ("format", c_uint32), ("flags", c_uint32), ("priority", c_uint32),
                ("route", c_char_p), ("queue_ns_max", c_uint64), ("run_ns_max", c_uint64)]


class _Reply(_Struct):
    _fields_ = [("size", c_uint32), ("status", c_int32), ("id", c_uint64), ("payload", c_void_p),
                ("payload_bytes", c_size_t), ("format", c_uint32), ("servant", c_uint32), ("has_info", c_uint32),
                ("backlog", c_uint32), ("remaining", c_uint32), ("reserved", c_uint32), ("elapsed_ns", c_uint64),
                ("execution_ns", c_uint64), ("servant_name", c_char * 32), ("info_object", c_void_p),
                ("info_object_bytes", c_size_t)]


class _ServantOptions(_Struct):
    _fields_ = [("size", c_uint32), ("flags", c_uint32), ("credit", c_uint32), ("idle", c_uint32),
                ("broker", c_char_p), ("directory", c_char_p), ("name", c_char_p), ("group", c_char_p),
                ("tags", c_char_p), ("ring_bytes", c_uint32), ("reserved", c_uint32),
                ("message_bytes_max", c_uint64), ("attach_ns_max", c_uint64), ("stop_ns_max", c_uint64)]


class _Request(_Struct):
    _fields_ = [("size", c_uint32), ("format", c_uint32), ("id", c_uint64), ("payload", c_void_p),
                ("payload_bytes", c_size_t), ("options", c_void_p), ("options_bytes", c_size_t)]


def _load():
    name = os.environ.get("MSERVE_LIBRARY", f"libmserve.so.{_ABI_MAJOR}")
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise ImportError(f"{error}; install libmserve{_ABI_MAJOR}, or say with MSERVE_LIBRARY where it is") from None
    signatures = {
        "abi_version": (c_uint32,), "version": (c_char_p,), "status_name": (c_char_p, c_int32),
        "status_advice": (c_char_p, c_int32), "last_error": (c_char_p,),
        "client_connect": (c_int32, POINTER(_ClientOptions), POINTER(c_void_p)),
        "client_disconnect": (None, POINTER(c_void_p)),
        "client_send": (c_int32, c_void_p, c_char_p, c_size_t, POINTER(_SendOptions), c_uint64,
                        POINTER(c_uint64)),
        "client_poll": (c_int32, c_void_p, POINTER(_Reply)), "client_wait": (c_int32, c_void_p, c_uint64),
        "client_await": (c_int32, c_void_p, c_uint64, c_uint64, POINTER(_Reply)),
        "client_cancel": (c_int32, c_void_p, c_uint64), "client_fd": (c_int32, c_void_p),
        "client_prepare_sleep": (c_int32, c_void_p), "client_finish_sleep": (None, c_void_p),
        "reply_error": (c_size_t, POINTER(_Reply), c_char_p, c_size_t),
        "servant_attach": (c_int32, POINTER(_ServantOptions), POINTER(c_void_p)),
        "servant_detach": (None, POINTER(c_void_p)),
        "servant_receive": (c_int32, c_void_p, c_uint64, POINTER(_Request)),
        "servant_reply": (c_int32, c_void_p, c_uint64, c_char_p, c_size_t, c_uint32),
        "servant_reply_error": (c_int32, c_void_p, c_uint64, c_char_p), "servant_stop": (None, c_void_p),
    }
    for name, (result, *arguments) in signatures.items():
        function = getattr(library, "mserve_" + name)
        function.restype, function.argtypes = result, arguments
    if library.mserve_abi_version() >> 16 != _ABI_MAJOR:
        raise ImportError(f"libmserve has another interface than {_ABI_MAJOR}")
    return library


_lib = _load()


class Error(Exception):
    """A call that failed, or a request that ended without a result. `status` is one of the constants."""

    def __init__(self, status, text=None):
        super().__init__(text or _lib.mserve_status_name(status).decode())
        self.status = status

    @property
    def advice(self):
        return _lib.mserve_status_advice(self.status).decode()


def _check(status):
    if status in (FULL, EMPTY, TIMED_OUT):  # of these the library keeps no text
        raise Error(status)
    if status != OK:
        raise Error(status, _lib.mserve_last_error().decode(errors="replace"))


def _slices(seconds):
    """Time-outs in nanoseconds that add up to `seconds`; the last one, at least, is there."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        left = _SLICE if end is None else min(_SLICE, end - time.monotonic())
        yield max(0, int(left * 1e9))
        if left < _SLICE:
            return


def _ns(seconds):
    return 0 if seconds is None else max(1, int(seconds * 1e9))


class Kdb(bytes):
    """The bytes of one kdb+ object, without an IPC header."""


def kdb_string(text):
    """A kdb+ string (char vector)."""
    data = text.encode()
    return Kdb(b"\x0a\x00" + len(data).to_bytes(4, "little") + data)


def kdb_text(payload):
    """The text of a kdb+ string, symbol or error object; None for any other."""
    if payload[:1] == b"\x0a":
        return payload[6:].decode(errors="replace")
    if payload[:1] in (b"\xf5", b"\x80"):
        return payload[1:-1].decode(errors="replace")
    return None


def _payload(data, format_of_text=_TEXT):
    """Bytes and format of what a caller passed."""
    if isinstance(data, str):
        return (data.encode(), _TEXT) if format_of_text == _TEXT else (kdb_string(data), _KDB)
    return bytes(data), _KDB if isinstance(data, Kdb) else _OPAQUE


def _received(pointer, size, kdb):
    data = ctypes.string_at(pointer, size) if size else b""
    return Kdb(data) if kdb else data


class Reply:
    """An answer: id, payload (Kdb or bytes) and, if it was asked for, info (a dict; else None)."""

    def __init__(self, raw):
        if raw.status != OK:
            text = ctypes.create_string_buffer(1024)
            _lib.mserve_reply_error(byref(raw), text, len(text))
            raise Error(raw.status, text.value.decode(errors="replace"))
        self.id = raw.id
        self.payload = _received(raw.payload, raw.payload_bytes, raw.format == _KDB)
        self.info = None
        if raw.has_info:
            self.info = {"servant": raw.servant_name.decode(), "elapsed": raw.elapsed_ns / 1e9,
                         "execution": raw.execution_ns / 1e9, "backlog": raw.backlog, "remaining": raw.remaining}


class _Session:
    """What clients and servants have: a handle of the library that ends once, also as a context manager."""

    _end = None  # the library's function

    def __init__(self):
        self._handle = c_void_p()

    def close(self):
        self._end(byref(self._handle))

    __del__ = close

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Client(_Session):
    """A session with a broker; it comes back by itself when the broker does."""

    _end = _lib.mserve_client_disconnect

    def __init__(self, broker="", *, directory="", name="", user="", password=""):
        super().__init__()
        options = _ClientOptions(broker=broker.encode(), directory=directory.encode(), name=name.encode(),
                                 user=user.encode(), password=password.encode())
        _check(_lib.mserve_client_connect(byref(options), byref(self._handle)))

    def send(self, data, *, timeout=None, route="", priority=1, repeatable=False, info=False, queue_time=None,
             run_time=None):
        """Sends one request and returns its id; waits for room if need be, and raises TIMED_OUT if none came in
        time. The broker ends it with QUEUE_TIMEOUT and TIMED_OUT after queue_time and run_time."""
        payload, kind = _payload(data)
        options = _SendOptions(format=kind, priority=priority, route=route.encode(), queue_ns_max=_ns(queue_time),
                               run_ns_max=_ns(run_time),
                               flags=(_REPEATABLE if repeatable else 0) | (_WANT_INFO if info else 0))
        request = c_uint64()
        _check(_lib.mserve_client_send(self._handle, payload, len(payload), byref(options),
                                       _FOREVER if timeout is None else int(timeout * 1e9), byref(request)))
        return request.value

    def poll(self):
        """The next Reply, or None. Raises the Error of a request that ended with one, as `wait` does."""
        raw = _Reply()
        status = _lib.mserve_client_poll(self._handle, byref(raw))
        if status == EMPTY:
            return None
        _check(status)
        return Reply(raw)

    def wait(self, timeout=None):
        """Waits for the next Reply of any request; None when none came in time, or nothing is in flight."""
        for piece in _slices(timeout):
            status = _lib.mserve_client_wait(self._handle, piece)
            if status != TIMED_OUT:
                return self.poll() if status in (OK, EMPTY) else _check(status)
        return None

    def wait_for(self, request, timeout=None):
        """Waits for the Reply to one request. Raises Error, TIMED_OUT if it stays in flight."""
        raw = _Reply()
        for piece in _slices(timeout):
            status = _lib.mserve_client_await(self._handle, request, piece, byref(raw))
            if status != TIMED_OUT:
                break
        _check(status)
        return Reply(raw)

    def call(self, data, *, timeout=None, **options):
        """Sends one request and waits for its Reply. After TIMED_OUT, or Ctrl-C, it is given up."""
        end = None if timeout is None else time.monotonic() + timeout
        request = self.send(data, timeout=timeout, **options)
        try:
            return self.wait_for(request, None if end is None else max(0, end - time.monotonic()))
        except BaseException:
            self.cancel(request)
            raise

    def cancel(self, request):
        """Gives up on a request. False when it was not in flight."""
        return _lib.mserve_client_cancel(self._handle, request) == OK

    def fileno(self):
        """For select, selectors, asyncio: to be watched between prepare_sleep() and finish_sleep(), see mserve.h."""
        return _lib.mserve_client_fd(self._handle)

    def prepare_sleep(self):
        return bool(_lib.mserve_client_prepare_sleep(self._handle))

    def finish_sleep(self):
        _lib.mserve_client_finish_sleep(self._handle)


class Request:
    """One request: payload (Kdb or bytes) and options (Kdb; empty without). Answer it exactly once."""

    def __init__(self, handle, raw):
        self._handle, self._id = handle, raw.id
        self.payload = _received(raw.payload, raw.payload_bytes, raw.format == _KDB)
        self.options = _received(raw.options, raw.options_bytes, True)

    def reply(self, data):
        """str: as a kdb+ string; Kdb: an object; bytes: opaque. Raises DISCONNECTED when nobody waits any more."""
        payload, kind = _payload(data, _KDB)
        _check(_lib.mserve_servant_reply(self._handle, self._id, payload, len(payload), kind))

    def fail(self, text):
        _check(_lib.mserve_servant_reply_error(self._handle, self._id, text.encode()))


class Servant(_Session):
    """An attachment as a servant; it comes back by itself when the broker does."""

    _end = _lib.mserve_servant_detach

    def __init__(self, broker="", *, name="", group="", tags="", credit=1, directory=""):
        super().__init__()
        options = _ServantOptions(broker=broker.encode(), directory=directory.encode(), name=name.encode(),
                                  group=group.encode(), tags=tags.encode(), credit=credit)
        _check(_lib.mserve_servant_attach(byref(options), byref(self._handle)))

    def receive(self, timeout=None):
        """The next Request; None when none came in time. Raises Error: CANCELLED after stop(), RETIRED, ..."""
        raw = _Request()
        for piece in _slices(timeout):
            status = _lib.mserve_servant_receive(self._handle, piece, byref(raw))
            if status not in (TIMED_OUT, NOT_ATTACHED):
                _check(status)
                return Request(self._handle, raw)
        return None

    def __iter__(self):
        """Requests as they come, until stop(), or until an operator retires this servant."""
        while True:
            try:
                yield self.receive()
            except Error as error:
                if error.status in (CANCELLED, RETIRED):
                    return
                raise

    def stop(self):
        """Ends receive() and the iteration, also when called before. From any thread or signal handler."""
        _lib.mserve_servant_stop(self._handle)
