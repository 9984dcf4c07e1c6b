"""Calls of every kind, made by grpcio, against the echo server of these tests: interop.py HOST:PORT [CASE...]

Messages are plain bytes: no proto file is needed. Prints "ok CASE" for each case, and ends with 1 at the first that fails.
"""

import concurrent.futures
import sys
import threading
import time

import grpc

SERVICE = "/attack.Echo/"


def identity(message):
    return message


class Echo:
    def __init__(self, channel):
        def method(kind, name):
            return kind(SERVICE + name, identity, identity)

        self.unary = method(channel.unary_unary, "Unary")
        self.fail = method(channel.unary_unary, "Fail")
        self.hold = method(channel.unary_unary, "Hold")
        self.held = method(channel.unary_unary, "Held")
        self.trailers = method(channel.unary_unary, "Trailers")
        self.time_left = method(channel.unary_unary, "TimeLeft")
        self.metadata = method(channel.unary_unary, "Metadata")
        self.big = method(channel.unary_unary, "Big")
        self.missing = method(channel.unary_unary, "Missing")
        self.sum = method(channel.stream_unary, "Sum")
        self.count = method(channel.unary_stream, "Count")
        self.chat = method(channel.stream_stream, "Chat")


UNLIMITED = {"grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1}


def channel(target, options=(), **more):
    # Channels of one process share connections unless their arguments differ.
    unique = ("attack.number", channel.made)
    channel.made += 1
    return grpc.insecure_channel(target, options=list({**UNLIMITED, **dict(options), **dict([unique])}.items()), **more)


channel.made = 0


def fails(code, call, *arguments, **more):
    try:
        call(*arguments, **more)
    except grpc.RpcError as error:
        assert error.code() == code, (error.code(), error.details(), code)
        return error
    raise AssertionError(f"no error, {code} was expected")


def unary(target):
    with channel(target) as open_channel:
        echo = Echo(open_channel)
        for size in [0, 1, 4, 5, 100, 16_379, 16_380, 16_384, 65_535, 65_536, 300_000]:
            message = bytes(index & 0xFF for index in range(size))
            assert echo.unary(message, timeout=60) == message, size
        for _ in range(300):
            assert echo.unary(b"again", timeout=60) == b"again"


def statuses(target):
    with channel(target) as open_channel:
        echo = Echo(open_channel)
        for code in grpc.StatusCode:
            if code == grpc.StatusCode.OK:
                continue
            text = f"100 % wrong: inputs[3] \"café\" ☃ \U0001f9ca\n\ttab, code {code.value[0]}"
            error = fails(code, echo.fail, f"{code.value[0]} {text}".encode(), timeout=60)
            assert error.details() == text, error.details()
            assert ("grpc-status-details-bin", b"\x00\x01\xff" + bytes([code.value[0]])) in error.trailing_metadata()
        fails(grpc.StatusCode.UNIMPLEMENTED, echo.missing, b"", timeout=60)
        nowhere = open_channel.unary_unary("/no.Such/Method", identity, identity)
        fails(grpc.StatusCode.UNIMPLEMENTED, nowhere, b"", timeout=60)


def metadata(target):
    with channel(target) as open_channel:
        echo = Echo(open_channel)
        sent = [("one", "1"), ("one", "2"), ("spaces", "a b  c"), ("data-bin", bytes(range(256))), ("data-bin", b""), ("odd-bin", b"\x01")]
        answer, call = echo.trailers.with_call(b"", metadata=sent, timeout=60)
        back = call.trailing_metadata()
        for name, value in sent:
            assert (name, value) in back, (name, value, back)
        assert [value for name, value in back if name == "one"] == ["1", "2"], back
        assert b"one" in echo.metadata(b"", metadata=sent, timeout=60)


def deadlines(target):
    with channel(target) as open_channel:
        echo = Echo(open_channel)
        left = int(echo.time_left(b"", timeout=30))
        # gRPC rounds a deadline up when it writes it: above 10 s to a tenth of a second.
        assert 0 < left <= 30_100, left
        assert int(echo.time_left(b"")) == -1
        assert int(echo.time_left(b"", timeout=1e8)) > 1e9
        began = time.monotonic()
        fails(grpc.StatusCode.DEADLINE_EXCEEDED, echo.hold, b"", timeout=0.2)
        assert time.monotonic() - began < 30
        no_time = echo.chat(iter(lambda: time.sleep(0.05) or b"x", None), timeout=0.3)
        fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: [None for _ in no_time])
        wait_for(lambda: int(echo.held(b"", timeout=60)) == 0)


def cancellation(target):
    with channel(target) as open_channel:
        echo = Echo(open_channel)
        calls = [echo.hold.future(b"", timeout=60) for _ in range(50)]
        wait_for(lambda: int(echo.held(b"", timeout=60)) == 50)
        for call in calls:
            call.cancel()
        wait_for(lambda: int(echo.held(b"", timeout=60)) == 0)
        endless = echo.count(b"1000000000 1000")
        for _ in range(10):
            next(endless)
        endless.cancel()
        assert echo.unary(b"x", timeout=60) == b"x"


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"


def streams(target):
    with channel(target) as open_channel:
        echo = Echo(open_channel)
        sizes = [0, 1, 100, 70_000, 5, 1_000_000, 0]
        assert echo.sum((bytes(size) for size in sizes), timeout=60) == f"{len(sizes)} {sum(sizes)}".encode()
        assert echo.sum(iter([]), timeout=60) == b"0 0"
        assert [len(message) for message in echo.count(b"1000 3000", timeout=60)] == [3000] * 1000
        assert list(echo.count(b"0 0", timeout=60)) == []
        assert [len(message) for message in echo.count(b"3 0", timeout=60)] == [0] * 3
        sent = [bytes([index & 0xFF]) * (index * 7) for index in range(500)]
        assert list(echo.chat(iter(sent), timeout=60)) == sent
        assert list(echo.chat(iter([]), timeout=60)) == []
        # One at a time: each answer is there before the next is sent.
        turn = threading.Semaphore(1)

        def turns():
            for index in range(100):
                turn.acquire()
                yield f"{index}".encode()

        for index, answer in enumerate(echo.chat(turns(), timeout=60)):
            assert answer == f"{index}".encode()
            turn.release()
        # A slow reader: the server waits for it.
        answers = echo.count(b"2000 20000", timeout=60)
        next(answers)
        time.sleep(0.3)
        assert sum(len(message) for message in answers) == 1999 * 20_000


def compression(target):
    for algorithm in [grpc.Compression.Gzip, grpc.Compression.Deflate]:
        with channel(target, compression=algorithm) as open_channel:
            echo = Echo(open_channel)
            message = b"abcdefgh" * 50_000
            assert echo.unary(message, timeout=60) == message
            assert list(echo.chat(iter([message, b"", b"x", message]), timeout=60)) == [message, b"", b"x", message]
            assert echo.unary(message, timeout=60, compression=grpc.Compression.NoCompression) == message


def large(target):
    with channel(target) as open_channel:
        echo = Echo(open_channel)
        message = bytes(range(256)) * (20_000_000 // 256)
        assert echo.unary(message, timeout=60) == message
        assert len(echo.big(b"20000000", timeout=60)) == 20_000_000
        assert list(echo.chat(iter([message, b"end"]), timeout=60)) == [message, b"end"]
        # Beyond the server's bound, then beyond the client's.
        error = fails(grpc.StatusCode.RESOURCE_EXHAUSTED, echo.unary, bytes(65 << 20), timeout=60)
        assert str(64 << 20) in error.details(), error.details()
        assert echo.unary(b"still", timeout=60) == b"still"
    with channel(target, [("grpc.max_receive_message_length", 1000)]) as open_channel:
        fails(grpc.StatusCode.RESOURCE_EXHAUSTED, Echo(open_channel).big, b"2000", timeout=60)
    # Metadata beyond the server's bound.
    with channel(target) as open_channel:
        error = fails(grpc.StatusCode.RESOURCE_EXHAUSTED, Echo(open_channel).unary, b"", metadata=[("large", "x" * 15_500)] * 2, timeout=60)
        assert Echo(open_channel).unary(b"still", timeout=60) == b"still"


def crowd(target):
    with channel(target) as open_channel:
        echo = Echo(open_channel)
        calls = [(index, echo.unary.future(f"call {index}".encode(), timeout=60)) for index in range(1_000)]
        for index, call in calls:
            assert call.result() == f"call {index}".encode()
        # More at once than one connection may carry: the others wait for their turn.
        held = [echo.hold.future(b"", timeout=60) for _ in range(1_500)]
        for call in held:
            call.cancel()
        assert echo.unary(b"after", timeout=60) == b"after"

    def many(number):
        with channel(target) as own:
            own_echo = Echo(own)
            for index in range(20):
                assert own_echo.unary(f"{number} {index}".encode(), timeout=60) == f"{number} {index}".encode()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(many, number) for number in range(64)]:
            done.result()


def keepalive(target):
    """A client that pings as often as grpcio lets it, during a call and without one."""
    options = [
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    with channel(target, options) as open_channel:
        echo = Echo(open_channel)
        assert echo.unary(b"x", timeout=60) == b"x"
        # Bandwidth probes go with messages: many large ones make many pings.
        for _ in range(40):
            assert len(echo.big(b"1000000", timeout=60)) == 1_000_000
            assert echo.unary(bytes(300_000), timeout=60) == bytes(300_000)


CASES = [unary, statuses, metadata, deadlines, cancellation, streams, compression, large, crowd, keepalive]


def main():
    target = sys.argv[1]
    wanted = sys.argv[2:]
    for case in CASES:
        if wanted and case.__name__ not in wanted:
            continue
        began = time.monotonic()
        case(target)
        print(f"ok {case.__name__} ({time.monotonic() - began:.1f} s)", flush=True)


main()
