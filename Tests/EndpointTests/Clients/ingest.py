"""grpcio against millrace.Ingest: ingest.py PORT [seconds of a speed test].

Stubs are generated here, from the project's protos. Prints "ok" at the end; a failed expectation ends it with a message.
"""
import os, sys, tempfile, threading, time, queue
import grpc
from grpc_tools import protoc

port = sys.argv[1]
root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
folder = tempfile.mkdtemp()
code = protoc.main(["protoc", f"--proto_path={root}/protos", f"--python_out={folder}", f"--grpc_python_out={folder}",
                    "millrace/events.proto", "millrace/ingest.proto"])
assert code == 0, "protoc"
sys.path.insert(0, folder)
from millrace import events_pb2, ingest_pb2, ingest_pb2_grpc

channel = grpc.insecure_channel(f"127.0.0.1:{port}")
stub = ingest_pb2_grpc.IngestStub(channel)


def event(name, city="Oslo"):
    return events_pb2.Event(id=name, event_time_ms=1_700_000_000_000, features=[
        events_pb2.Feature(name="city", text=city), events_pb2.Feature(name="temp", number=12.5)])


def expect(condition, what):
    if not condition:
        sys.exit(f"not so: {what}")


# One request and a closed side: one ack, then OK.
call = stub.PublishEvents(iter([ingest_pb2.PublishEventsRequest(sequence=7, events=[event("p1"), event("p2")])]))
acks = list(call)
expect(call.code() == grpc.StatusCode.OK, call.code())
expect([a.sequence for a in acks] == [7] and len(acks[0].offsets) == 2 and min(acks[0].offsets) >= 0, acks)

# Acks come while the stream is open, in order; a refused record does not end it.
requests = queue.Queue()
call = stub.PublishLabels(iter(requests.get, None))
for sequence in range(1, 6):
    labels = [events_pb2.Label(id=f"p{sequence}", label=9 if sequence == 3 else 1)]
    requests.put(ingest_pb2.PublishLabelsRequest(sequence=sequence, labels=labels))
    ack = next(call)
    expect(ack.sequence == sequence, ack)
    expect(len(ack.refusals) == (1 if sequence == 3 else 0), ack)
    if ack.refusals:
        refusal = ack.refusals[0]
        expect(refusal.problem.reason == "label_out_of_range" and refusal.problem.field == "label" and not refusal.retryable, ack)
requests.put(None)
expect(list(call) == [] and call.code() == grpc.StatusCode.OK, call.code())

# What is no request ends the stream with the reason.
raw = channel.stream_stream("/millrace.Ingest/PublishEvents", request_serializer=lambda b: b, response_deserializer=lambda b: b)
for bad in [b"\xff\xff\xff", b"\x0a\x01x", b"\x08"]:
    try:
        list(raw(iter([bad])))
        sys.exit(f"taken: {bad}")
    except grpc.RpcError as error:
        expect(error.code() == grpc.StatusCode.INVALID_ARGUMENT and error.details(), error)

# A deadline and a cancellation end a call; the next one is served.
requests = queue.Queue()
call = stub.PublishEvents(iter(requests.get, None), timeout=0.2)
try:
    next(call)
    sys.exit("an ack for nothing")
except grpc.RpcError as error:
    expect(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error)
requests.put(None)
call = stub.PublishEvents(iter([ingest_pb2.PublishEventsRequest(sequence=1, events=[event(f"c{n}") for n in range(1000)])]))
call.cancel()
call = stub.PublishEvents(iter([ingest_pb2.PublishEventsRequest(sequence=2, events=[event("last")])]), compression=grpc.Compression.Gzip)
expect([a.sequence for a in call] == [2], "the call after the cancelled one")

if len(sys.argv) > 2:
    # One stream, requests of 100 events that are built beforehand, 32 on the way.
    seconds = float(sys.argv[2])
    bodies = [ingest_pb2.PublishEventsRequest(sequence=1, events=[event(f"s{b}-{n}") for n in range(100)]).SerializeToString() for b in range(64)]
    window = threading.Semaphore(32)
    end = time.monotonic() + seconds

    def generate():
        n = 0
        while time.monotonic() < end:
            window.acquire()
            yield bodies[n % 64]
            n += 1

    start = time.monotonic()
    count = 0
    for _ in raw(generate()):
        window.release()
        count += 1
    print(f"{count * 100 / (time.monotonic() - start):.0f} events/s by grpcio, one stream, 100 in a request")
print("ok")
