"""Bad requests of every kind to a V2 server, made with tritonclient's messages and grpcio:

hostile.py GRPC_HOST:PORT NAMED_MODEL [DENSE_MODEL] [--rest HOST:PORT]

Each must be answered with the right code and a message that names the field, and afterwards the server must answer as before. Prints
"ok CASE" for each case, and ends with 1 when any failed.
"""

import argparse
import http.client
import json
import random
import struct
import sys
import threading
import time

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as rpc

C = grpc.StatusCode
BAD = {C.INVALID_ARGUMENT}
TEXT, FLOAT = "BYTES", "FP32"
# Requests with bytes changed, left out or put in, for each model.
DAMAGED = 2_000


def raw_texts(*texts):
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


class Server:
    def __init__(self, target):
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(target, options=unlimited)
        self.stub = rpc.GRPCInferenceServiceStub(self.channel)
        self.bytes = self.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", lambda b: b, lambda b: b)

    def metadata(self, model):
        return self.stub.ModelMetadata(pb.ModelMetadataRequest(name=model), timeout=60)


def value(tensor, rows=1):
    """A valid raw value for an input, of `rows` rows."""
    columns = 1
    for dimension in list(tensor.shape)[1:]:
        columns *= max(1, dimension)
    if tensor.datatype == TEXT:
        return [rows, columns], raw_texts(*[b"AA"] * (rows * columns))
    size = {"BOOL": 1, "INT8": 1, "UINT8": 1, "INT16": 2, "UINT16": 2, "FP16": 2, "BF16": 2, "INT32": 4, "UINT32": 4, "FP32": 4}.get(tensor.datatype, 8)
    return [rows, columns], bytes(size * rows * columns)


def good(metadata, rows=1):
    request = pb.ModelInferRequest(model_name=metadata.name)
    for tensor in metadata.inputs:
        shape, raw = value(tensor, rows)
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        request.raw_input_contents.append(raw)
    return request


class Cases:
    def __init__(self, server):
        self.server = server
        self.failed = 0
        self.count = 0

    def note(self, name, problem=None):
        self.count += 1
        if problem:
            self.failed += 1
            print(f"FAILED {name}: {problem}", flush=True)
        else:
            print(f"ok {name}", flush=True)

    def refused(self, name, request, codes, *says, timeout=60):
        try:
            if isinstance(request, bytes):
                self.server.bytes(request, timeout=timeout)
            else:
                self.server.stub.ModelInfer(request, timeout=timeout)
        except grpc.RpcError as error:
            missing = [text for text in says if text not in error.details()]
            if error.code() not in codes:
                self.note(name, f"{error.code()}: {error.details()}")
            elif missing:
                self.note(name, f"says nothing of {missing}: {error.details()}")
            elif not error.details():
                self.note(name, "no message")
            else:
                self.note(name)
            return
        self.note(name, "was answered")

    def answered(self, name, request, rows=None):
        try:
            response = self.server.stub.ModelInfer(request, timeout=60)
        except grpc.RpcError as error:
            return self.note(name, f"{error.code()}: {error.details()}")
        if rows is not None and (not response.outputs or response.outputs[0].shape[0] != rows):
            return self.note(name, f"shape {response.outputs}")
        for raw in response.raw_output_contents:
            for number in struct.unpack(f"<{len(raw) // 4}f", raw):
                if number != number or number in (float("inf"), float("-inf")):
                    return self.note(name, f"answered {number}")
        self.note(name)


def model_cases(cases, metadata, is_named):
    def changed(change, rows=1):
        request = good(metadata, rows)
        change(request)
        return request

    label = "named" if is_named else "dense"
    cases.answered(f"{label}: good", good(metadata), 1)
    cases.answered(f"{label}: 64 rows", good(metadata, 64), 64)

    # Which model.
    cases.refused(f"{label}: no model", changed(lambda r: r.ClearField("model_name")), {C.INVALID_ARGUMENT, C.NOT_FOUND}, "model")
    cases.refused(f"{label}: unknown model", changed(lambda r: setattr(r, "model_name", "nope")), {C.NOT_FOUND}, "nope")
    cases.refused(f"{label}: long model name", changed(lambda r: setattr(r, "model_name", "n" * 100_000)), {C.NOT_FOUND, C.INVALID_ARGUMENT})
    for version in ["99", "-1", "x", "1.0", "99999999999999999999", " "]:
        cases.refused(f"{label}: version {version}", changed(lambda r: setattr(r, "model_version", version)), {C.NOT_FOUND, C.INVALID_ARGUMENT}, "version")

    # Shapes.
    first = metadata.inputs[0].name

    def shape(*dimensions):
        def change(request):
            del request.inputs[0].shape[:]
            request.inputs[0].shape.extend(dimensions)

        return change

    big = 1 << 62
    for dimensions in [(), (0,), (-1, 1), (1, -1), (2, 1), (1, 2), (big, 4), (1 << 32, 1 << 32), (big, big, big), (-(1 << 63), 1), ((1 << 63) - 1, (1 << 63) - 1),
                       (3, 0), (1,) * 1000, (-(1 << 63), -(1 << 63))]:
        described = str(dimensions[:4])
        request = changed(shape(*dimensions))
        if dimensions == (1,) * 1000:
            # One element still; whether so many dimensions are taken is the server's choice.
            either(cases, f"{label}: 1000 dimensions", request)
        else:
            cases.refused(f"{label}: shape {described}", request, BAD, first)
    if len(metadata.inputs) > 1:
        def rows_differ(request):
            _, raw = value(metadata.inputs[1], 3)
            request.inputs[1].shape[0] = 3
            request.raw_input_contents[1] = raw

        cases.refused(f"{label}: rows differ", changed(rows_differ), BAD, metadata.inputs[1].name)

    # Contents.
    def both(request):
        request.inputs[0].contents.fp32_contents.append(1)

    cases.refused(f"{label}: contents and raw", changed(both), BAD, "contents")

    def none(request):
        del request.raw_input_contents[:]

    cases.refused(f"{label}: no contents", changed(none), BAD)

    def one_missing(request):
        del request.raw_input_contents[-1]

    if len(metadata.inputs) > 1:
        cases.refused(f"{label}: a raw content missing", changed(one_missing), BAD, "raw_input_contents")
    cases.refused(f"{label}: a raw content too many", changed(lambda r: r.raw_input_contents.append(b"xx")), BAD, "raw_input_contents")
    for index, tensor in enumerate(metadata.inputs[:4]):
        def short(request):
            request.raw_input_contents[index] = request.raw_input_contents[index][:-1]

        def long(request):
            request.raw_input_contents[index] = request.raw_input_contents[index] + b"\0"

        cases.refused(f"{label}: a byte too few of {tensor.name}", changed(short), BAD, tensor.name)
        cases.refused(f"{label}: a byte too many of {tensor.name}", changed(long), BAD, tensor.name)

    def empty_raw(request):
        request.raw_input_contents[0] = b""

    cases.refused(f"{label}: empty raw", changed(empty_raw), BAD, first)

    # Types.
    def datatype(name):
        def change(request):
            request.inputs[0].datatype = name

        return change

    for name in ["", "FP33", "bytes", "STRING", "FP320", "x" * 5_000, "\u2603"]:
        cases.refused(f"{label}: datatype {name[:8]!r}", changed(datatype(name)), BAD, first)

    # Names.
    cases.refused(f"{label}: no inputs", pb.ModelInferRequest(model_name=metadata.name), BAD)

    def twice(request):
        request.inputs.add().CopyFrom(request.inputs[0])
        request.raw_input_contents.append(request.raw_input_contents[0])

    cases.refused(f"{label}: an input twice", changed(twice), BAD, first)

    def nameless(request):
        request.inputs[0].name = ""

    cases.refused(f"{label}: an input without a name", changed(nameless), BAD)

    def unknown_input(request):
        request.inputs[0].name = "what_is_this"

    if is_named:
        either(cases, f"{label}: unknown input", changed(unknown_input))
    else:
        cases.refused(f"{label}: unknown input", changed(unknown_input), BAD, "what_is_this")

    def unknown_output(request):
        request.outputs.add(name="nothing_of_ours")

    cases.refused(f"{label}: unknown output", changed(unknown_output), BAD, "nothing_of_ours")

    def same_output(request):
        for _ in range(2):
            request.outputs.add(name=metadata.outputs[0].name)

    either(cases, f"{label}: an output twice", changed(same_output))

    def many_outputs(request):
        for _ in range(20_000):
            request.outputs.add(name=metadata.outputs[0].name)

    either(cases, f"{label}: 20,000 outputs", changed(many_outputs))

    def many_inputs(request):
        for number in range(1_000):
            request.inputs.add(name=f"more_{number}", datatype="FP32", shape=[1, 1])
            request.raw_input_contents.append(struct.pack("<f", 1))

    either(cases, f"{label}: 1,000 inputs", changed(many_inputs))

    # Parameters.
    def parameter(name, **kind):
        def change(request):
            (field, given), = kind.items()
            setattr(request.parameters[name], field, given)

        return change

    for name in ["max_staleness_ms", "timeout"]:
        cases.refused(f"{label}: {name} of text", changed(parameter(name, string_param="soon")), BAD, name)
        cases.refused(f"{label}: {name} below 0", changed(parameter(name, int64_param=-1)), BAD, name)
        either(cases, f"{label}: {name} of 2^64-1", changed(parameter(name, uint64_param=(1 << 64) - 1)))
    for position in ["x", "o", "o99999999999999999999999", "o-1", "o1,,o2", ","]:
        cases.refused(f"{label}: min_position {position}", changed(parameter("min_position", string_param=position)), BAD, "min_position")
    cases.refused(f"{label}: min_position of a number", changed(parameter("min_position", int64_param=4)), BAD, "min_position")
    cases.refused(f"{label}: an unknown arm", changed(parameter("arm", string_param="nobody")), {C.INVALID_ARGUMENT, C.NOT_FOUND}, "nobody")

    def shared(request):
        request.inputs[0].parameters["shared_memory_region"].string_param = "x"

    cases.refused(f"{label}: shared memory", changed(shared), {C.UNIMPLEMENTED, C.INVALID_ARGUMENT}, "shared")

    def many_parameters(request):
        for number in range(20_000):
            request.parameters[f"p{number}"].int64_param = number

    either(cases, f"{label}: 20,000 parameters", changed(many_parameters))
    either(cases, f"{label}: a long id", changed(lambda r: setattr(r, "id", "i" * 1_000_000)))
    cases.refused(f"{label}: past its deadline", good(metadata), {C.DEADLINE_EXCEEDED}, timeout=-1)

    # Numbers.
    for tensor_index, tensor in enumerate(metadata.inputs):
        if tensor.datatype != FLOAT:
            continue
        for number in [float("nan"), float("inf"), float("-inf"), 3.4e38, -3.4e38, 1e-45]:
            def put(request):
                count = len(request.raw_input_contents[tensor_index]) // 4
                request.raw_input_contents[tensor_index] = struct.pack("<f", number) * count

            if number != number or abs(number) == float("inf"):
                cases.refused(f"{label}: {number} in {tensor.name}", changed(put), BAD, tensor.name)
            else:
                either(cases, f"{label}: {number} in {tensor.name}", changed(put))
        break

    # Texts.
    for tensor_index, tensor in enumerate(metadata.inputs):
        if tensor.datatype != TEXT:
            continue
        for name, raw in {
            "length beyond the bytes": struct.pack("<I", 100) + b"AA", "length of 2^32-1": struct.pack("<I", 0xFFFF_FFFF) + b"AA", "half a length": b"\1\0",
            "a length and a half": raw_texts(b"AA") + b"\0\0", "one text too many": raw_texts(b"AA", b"BB"), "no text": b"",
        }.items():
            def put_text(request):
                request.raw_input_contents[tensor_index] = raw

            cases.refused(f"{label}: {name} in {tensor.name}", changed(put_text), BAD, tensor.name)
        for name, text in {"not UTF-8": b"\xff\xfe", "empty": b"", "null": b"\0", "a megabyte": b"x" * 1_000_000}.items():
            def put_odd(request):
                request.raw_input_contents[tensor_index] = raw_texts(text)

            either(cases, f"{label}: {name} text in {tensor.name}", changed(put_odd))
        break

    # Sizes.
    either(cases, f"{label}: 100,000 rows", good(metadata, 100_000))
    cases.refused(f"{label}: 70 MB", changed(lambda r: setattr(r, "id", "i" * (70 << 20))), {C.RESOURCE_EXHAUSTED})

    # Bytes that are no message, and messages that were damaged.
    for name, raw in {"nothing": b"", "one byte": b"\xff", "text": b"hello", "deep": b"\x0a" * 1_000, "a length that lies": b"\x3a\xff\xff\xff\xff\x0f"}.items():
        cases.refused(f"{label}: {name}", raw, BAD | {C.NOT_FOUND, C.INTERNAL})
    seed = 20
    source = random.Random(seed)
    whole = good(metadata, 3).SerializeToString()
    outcomes = {}
    for _ in range(DAMAGED):
        damaged = bytearray(whole)
        for _ in range(source.randint(1, 4)):
            kind = source.random()
            at = source.randrange(len(damaged))
            if kind < 0.6:
                damaged[at] = source.randrange(256)
            elif kind < 0.8:
                del damaged[at : at + source.randint(1, 8)]
            else:
                damaged[at:at] = bytes(source.randrange(256) for _ in range(source.randint(1, 8)))
        try:
            cases.server.bytes(bytes(damaged), timeout=60)
            code = C.OK
        except grpc.RpcError as error:
            code = error.code()
        outcomes[code] = outcomes.get(code, 0) + 1
    unexpected = set(outcomes) - {C.OK, C.INVALID_ARGUMENT, C.NOT_FOUND, C.UNIMPLEMENTED, C.INTERNAL, C.FAILED_PRECONDITION, C.OUT_OF_RANGE}
    cases.note(f"{label}: {DAMAGED:,} damaged requests (seed {seed}): {({code.name: count for code, count in outcomes.items()})}", unexpected or None)
    cases.answered(f"{label}: good, after all", good(metadata), 1)


def either(cases, name, request):
    """Taken or refused: but answered, with a message, and with finite numbers."""
    try:
        cases.server.stub.ModelInfer(request, timeout=60)
        cases.note(f"{name} (taken)")
    except grpc.RpcError as error:
        expected = error.code() in {C.INVALID_ARGUMENT, C.RESOURCE_EXHAUSTED, C.NOT_FOUND, C.UNIMPLEMENTED, C.OUT_OF_RANGE, C.FAILED_PRECONDITION, C.UNAVAILABLE, C.DEADLINE_EXCEEDED}
        cases.note(f"{name} ({error.code().name}: {error.details()[:120]})", None if expected and error.details() else f"{error.code()}: {error.details()}")


def stream_cases(cases, metadata):
    stub = cases.server.stub
    bad = good(metadata)
    bad.inputs[0].datatype = "FP99"
    requests = [good(metadata), bad, good(metadata), pb.ModelInferRequest(model_name="nope"), good(metadata)]
    for index, request in enumerate(requests):
        request.id = str(index)
    answers = list(stub.ModelStreamInfer(iter(requests), timeout=60))
    problem = None
    if len(answers) != len(requests):
        problem = f"{len(answers)} answers"
    else:
        for index, answer in enumerate(answers):
            if bool(answer.error_message) != (index in (1, 3)):
                problem = f"answer {index}: {answer}"
    cases.note("stream: bad requests among good ones", problem)
    # Every stream is reset at once, many times over.
    for _ in range(300):
        call = stub.ModelStreamInfer(iter([good(metadata)] * 20), timeout=60)
        call.cancel()
        future = stub.ModelInfer.future(good(metadata), timeout=60)
        future.cancel()
    cases.answered("stream: after 600 resets", good(metadata), 1)
    # A client that never reads, for a while, beside one that does.
    silent = stub.ModelStreamInfer(iter(lambda: good(metadata), None), timeout=3)
    for _ in range(50):
        cases.answered("stream: beside one that never reads", good(metadata), 1)
    silent.cancel()
    # Ends in the middle of a message are covered by the tests of the frames.


def other_calls(cases):
    stub = cases.server.stub

    def refused(name, call, request, codes, *says):
        try:
            call(request, timeout=60)
        except grpc.RpcError as error:
            fine = error.code() in codes and all(text in error.details() for text in says)
            return cases.note(name, None if fine else f"{error.code()}: {error.details()}")
        cases.note(name, "was answered")

    for method, request in [
        ("ModelMetadata", pb.ModelMetadataRequest(name="nope")), ("ModelConfig", pb.ModelConfigRequest(name="nope")),
        ("ModelStatistics", pb.ModelStatisticsRequest(name="nope")), ("ModelMetadata", pb.ModelMetadataRequest()),
        ("ModelConfig", pb.ModelConfigRequest()),
    ]:
        refused(f"{method} of {request.name!r}", getattr(stub, method), request, {C.NOT_FOUND, C.INVALID_ARGUMENT}, request.name)
    for method, request in [
        ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="nope")), ("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="nope")),
        ("LogSettings", pb.LogSettingsRequest(settings={"log_file": pb.LogSettingsRequest.SettingValue(string_param="/tmp/x")})),
        ("TraceSetting", pb.TraceSettingRequest(settings={"trace_file": pb.TraceSettingRequest.SettingValue(value=["/tmp/x"])})),
    ]:
        refused(f"{method} on the public listener", getattr(stub, method), request, {C.PERMISSION_DENIED, C.UNIMPLEMENTED, C.INVALID_ARGUMENT})
    for method in ["SystemSharedMemoryRegister", "CudaSharedMemoryRegister", "SystemSharedMemoryStatus"]:
        request = {"SystemSharedMemoryRegister": pb.SystemSharedMemoryRegisterRequest(name="x", key="/x", byte_size=1), "CudaSharedMemoryRegister": pb.CudaSharedMemoryRegisterRequest(name="x"),
                   "SystemSharedMemoryStatus": pb.SystemSharedMemoryStatusRequest()}[method]
        refused(method, getattr(stub, method), request, {C.UNIMPLEMENTED})


def rest_cases(cases, target, metadata):
    host, port = target.rsplit(":", 1)
    model = metadata.name

    def ask(method, path, body=b"", headers=None):
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    inputs = [{"name": t.name, "datatype": t.datatype, "shape": [1, 1], "data": ["AA" if t.datatype == TEXT else 1]} for t in metadata.inputs]
    infer = f"/v2/models/{model}/infer"

    def rest(name, expected, method, path, body=b"", headers=None, says=()):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        try:
            status, text = ask(method, path, body, headers)
        except Exception as error:  # a connection that was cut off
            status, text = type(error).__name__, b""
        fine = status in expected and all(word.encode() in text for word in says)
        # The HTTP parser itself answers without words.
        if isinstance(status, int) and status >= 400 and fine and text:
            try:
                fine = bool(json.loads(text).get("error"))
            except ValueError:
                fine = False
        cases.note(f"REST {name}: {status}", None if fine else f"{status} {text[:300]}")

    def changed(**change):
        first = dict(inputs[0], **change)
        return {"inputs": [first] + inputs[1:]}

    first = inputs[0]["name"]
    rest("good", {200}, "POST", infer, {"inputs": inputs})
    rest("live", {200}, "GET", "/v2/health/live")
    for name, body in {
        "empty": b"", "a number": b"1", "a list": b"[]", "null": b"null", "text": b"\"x\"", "cut": b"{\"inputs\":[{", "no inputs": b"{}", "inputs of null": b"{\"inputs\":null}",
        "not UTF-8": b"{\"inputs\":\"\xff\xfe\"}", "deep lists": b"{\"inputs\":" + b"[" * 100_000 + b"]" * 100_000 + b"}", "deep objects": b"{\"a\":" * 50_000 + b"1" + b"}" * 50_000,
        "garbage": bytes(range(256)), "two values": b"{}{}", "a comma too many": b"{\"inputs\":[],}", "control characters": b"{\"inputs\":\"\0\n\"}",
        "a huge number": b"{\"inputs\":[{\"name\":\"x\",\"shape\":[1e400],\"datatype\":\"FP32\",\"data\":[1e400]}]}",
        "half a surrogate": b"{\"inputs\":[{\"name\":\"\\ud800\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]}]}",
    }.items():
        rest(name, {400}, "POST", infer, body)
    for name, change in {
        "shape of text": {"shape": "1"}, "shape of texts": {"shape": ["1"]}, "shape of fractions": {"shape": [1.5, 1]}, "shape of -1": {"shape": [-1, 1]}, "shape that overflows": {"shape": [1 << 62, 4]},
        "shape beyond 64 bits": {"shape": [1 << 70]}, "shape too large": {"shape": [2, 1]}, "no data": {"data": []}, "data of an object": {"data": {}}, "data of text": {"data": "AA"},
        "ragged data": {"data": [["AA"], ["AA", "BB"]], "shape": [2, 1]}, "null in data": {"data": [None]}, "deep data": {"data": json.loads("[" * 200 + "1" + "]" * 200)}, "datatype of a number": {"datatype": 5},
        "unknown datatype": {"datatype": "FP33"}, "parameters of a list": {"parameters": []}, "binary size below 0": {"parameters": {"binary_data_size": -1}, "data": None},
        "binary size beyond the body": {"parameters": {"binary_data_size": 1 << 40}},
    }.items():
        rest(name, {400}, "POST", infer, changed(**change))
    rest("name of a number", {400}, "POST", infer, changed(name=5))
    rest("a wrong type names the input", {400}, "POST", infer, changed(datatype="FP33"), says=[first])
    rest("unknown output", {400}, "POST", infer, {"inputs": inputs, "outputs": [{"name": "nothing"}]}, says=["nothing"])
    rest("outputs of text", {400}, "POST", infer, {"inputs": inputs, "outputs": "x"})
    rest("id of an object", {400}, "POST", infer, {"id": {}, "inputs": inputs})
    for header in ["-1", "x", "99999999999999999999", "1000000", "1e3", ""]:
        rest(f"binary header length {header!r}", {400}, "POST", infer, {"inputs": inputs}, {"Inference-Header-Content-Length": header})
    rest("unknown model", {404}, "POST", "/v2/models/nope/infer", {"inputs": inputs}, says=["nope"])
    rest("unknown version", {404, 400}, "POST", f"/v2/models/{model}/versions/99/infer", {"inputs": inputs})
    rest("version of text", {404, 400}, "GET", f"/v2/models/{model}/versions/x")
    rest("unknown path", {404}, "GET", "/v2/nothing")
    rest("GET of infer", {404, 405}, "GET", infer)
    rest("a path that climbs", {400, 404}, "GET", "/v2/models/..%2f..%2fetc%2fpasswd")
    rest("a path of nulls", {400, 404}, "GET", "/v2/models/%00")
    rest("a long path", {400, 404, 414, 431, "RemoteDisconnected", "ConnectionResetError", "BrokenPipeError"}, "GET", "/v2/models/" + "a" * 100_000)
    rest("an unknown encoding", {400, 415, 200}, "POST", infer, {"inputs": inputs}, {"Content-Encoding": "br"})
    rest("a large body", {400, 413, "BrokenPipeError", "ConnectionResetError"}, "POST", infer, b"[" + b"1," * (80 << 20) + b"1]")
    rest("good, after all", {200}, "POST", infer, {"inputs": inputs})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("named")
    parser.add_argument("dense", nargs="?")
    parser.add_argument("--rest")
    options = parser.parse_args()
    server = Server(options.target)
    cases = Cases(server)
    named = server.metadata(options.named)

    # A well-behaved client beside all of it.
    stop = threading.Event()
    problems = []

    def behave():
        beside = Server(options.target)
        while not stop.is_set():
            try:
                beside.stub.ModelInfer(good(named), timeout=60)
            except grpc.RpcError as error:
                problems.append(f"{error.code()}: {error.details()}")
            time.sleep(0.002)

    neighbour = threading.Thread(target=behave)
    neighbour.start()
    try:
        model_cases(cases, named, True)
        if options.dense:
            model_cases(cases, server.metadata(options.dense), False)
        stream_cases(cases, named)
        other_calls(cases)
        if options.rest:
            rest_cases(cases, options.rest, named)
    finally:
        stop.set()
        neighbour.join()
    cases.note("a well-behaved client beside", problems[:3] or None)
    print(f"{cases.count} cases, {cases.failed} failed")
    sys.exit(1 if cases.failed else 0)


main()
