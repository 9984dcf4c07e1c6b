"""tritonclient over gRPC, unmodified: what code written for another V2 server does."""
import queue

import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc
import grpc

from orders import ROWS, arguments, inputs, refused, scores

given = arguments()
client = triton.InferenceServerClient(url=given["grpc"])

# Health and what there is.
assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready("orders") and client.is_model_ready("orders", "1")
refused("NOT_FOUND", "nothing", lambda: client.get_model_metadata("nothing"))
server = client.get_server_metadata()
assert server.name == "millrace" and server.version and "statistics" in server.extensions, server
metadata = client.get_model_metadata("orders", as_json=False)
assert metadata.name == "orders" and list(metadata.versions) == ["1"], metadata
assert [(i.name, i.datatype, list(i.shape)) for i in metadata.inputs] == [
    ("store", "BYTES", [-1, 1]), ("courier", "BYTES", [-1, 1]), ("distance", "FP32", [-1, 1])], metadata
assert [(o.name, o.datatype, list(o.shape)) for o in metadata.outputs] == [("score", "FP32", [-1, 1])], metadata
config = client.get_model_config("orders").config
assert config.name == "orders" and config.max_batch_size > 0 and [i.name for i in config.input] == ["store", "courier", "distance"], config
index = client.get_model_repository_index()
assert [(m.name, m.version, m.state) for m in index.models] == [("orders", "1", "READY")], index

# One row, raw, as set_data_from_numpy sends it.
result = client.infer("orders", inputs(triton, ROWS[:1]), request_id="")
first = scores(result)
response = result.get_response()
assert response.model_name == "orders" and response.model_version == "1"
assert response.parameters["position"].string_param, response.parameters
assert response.parameters["staleness_ms"].int64_param >= 0
assert 0 < first[0] < 1

# Several rows are several single ones, with and without naming output and version.
several = client.infer("orders", inputs(triton, ROWS), model_version="1", outputs=[triton.InferRequestedOutput("score")],
                       parameters={"log": False}, priority=1, timeout=5_000_000, client_timeout=10)
single = [scores(client.infer("orders", inputs(triton, [row])))[0] for row in ROWS]
assert scores(several) == single, (scores(several), single)
assert scores(client.infer("orders", inputs(triton, ROWS), compression_algorithm="gzip")) == single

# The same by typed contents, and as float64 and int64.
stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(given["grpc"]))


def by_contents(distance_type="FP32"):
    request = service_pb2.ModelInferRequest(model_name="orders", id="contents")
    request.parameters["log"].bool_param = False
    for position, name in enumerate(["store", "courier"]):
        tensor = request.inputs.add(name=name, datatype="BYTES", shape=[len(ROWS), 1])
        tensor.contents.bytes_contents.extend(row[position].encode() for row in ROWS)
    tensor = request.inputs.add(name="distance", datatype=distance_type, shape=[len(ROWS), 1])
    getattr(tensor.contents, {"FP32": "fp32_contents", "FP64": "fp64_contents"}[distance_type]).extend(row[2] for row in ROWS)
    return request


answer = stub.ModelInfer(by_contents())
assert answer.id == "contents"
assert list(np.frombuffer(answer.raw_output_contents[0], dtype=np.float32)) == [np.float32(s) for s in single]
close = np.frombuffer(stub.ModelInfer(by_contents("FP64")).raw_output_contents[0], dtype=np.float32)
assert np.allclose(close, single, atol=1e-5), (close, single)

# A stream answers each request, in order, and goes on after a bad one.
answers = queue.Queue()
client.start_stream(callback=lambda result, error: answers.put((result, error)))
for number, row in enumerate(ROWS):
    client.async_stream_infer("orders", inputs(triton, [row]), request_id=f"s{number}", parameters={"log": False})
client.async_stream_infer("nothing", inputs(triton, ROWS[:1]))
client.async_stream_infer("orders", inputs(triton, ROWS[:1]), request_id="last", parameters={"log": False})
for number in range(len(ROWS)):
    result, error = answers.get(timeout=30)
    assert error is None and result.get_response().id == f"s{number}" and scores(result) == [single[number]], (result, error)
result, error = answers.get(timeout=30)
assert error is not None and "nothing" in str(error), (result, error)
result, error = answers.get(timeout=30)
assert error is None and scores(result) == single[:1], error
client.stop_stream()

# async_infer by callback.
client.async_infer("orders", inputs(triton, ROWS), callback=lambda result, error: answers.put((result, error)))
result, error = answers.get(timeout=30)
assert error is None and scores(result) == single


# What is wrong is said by code, and the field by name.
def wrong(code, words, change):
    request = by_contents()
    change(request)
    refused(code, words, lambda: stub.ModelInfer(request))


def first_shape(request): request.inputs[0].shape[:] = [2, 1]
def huge_shape(request): request.inputs[0].shape[:] = [1 << 40, 1 << 40]
def both(request): request.raw_input_contents.append(b"x")
def wrong_type(request): request.inputs[2].datatype = "FP99"
def unknown_input(request): request.inputs[1].name = "curier"
def unknown_output(request): request.outputs.add(name="scores")
def unknown_model(request): request.model_name = "order"
def unknown_version(request): request.model_version = "7"
def twice(request): request.inputs[1].name = "store"
def unknown_arm(request): request.parameters["arm"].string_param = "nightly"


wrong("INVALID_ARGUMENT", "store", first_shape)
wrong("INVALID_ARGUMENT", "store", huge_shape)
wrong("INVALID_ARGUMENT", "raw_input_contents", both)
wrong("INVALID_ARGUMENT", ["distance", "datatype"], wrong_type)
wrong("INVALID_ARGUMENT", "curier", unknown_input)
wrong("INVALID_ARGUMENT", "scores", unknown_output)
wrong("NOT_FOUND", "orders", unknown_model)
wrong("NOT_FOUND", "7", unknown_version)
wrong("INVALID_ARGUMENT", "store", twice)
wrong("INVALID_ARGUMENT", "nightly", unknown_arm)
refused("UNIMPLEMENTED", "", lambda: client.register_system_shared_memory("a", "/a", 10))
# Control is not for everybody.
refused("PERMISSION_DENIED", given["control"], lambda: client.unload_model("orders"))
refused("PERMISSION_DENIED", given["control"], lambda: client.update_log_settings({"log_verbose_level": 1}))

# Statistics count what was answered.
stats = client.get_inference_statistics("orders").model_stats[0]
assert stats.name == "orders" and stats.inference_stats.success.count >= 10 and stats.inference_count >= 16, stats
assert stats.inference_stats.fail.count >= 1 and stats.execution_count >= 1, stats

# The operators' listener takes a model off and puts it back.
control = triton.InferenceServerClient(url=given["control"])
control.unload_model("orders")
assert not client.is_model_ready("orders")
refused("NOT_FOUND", "orders", lambda: client.infer("orders", inputs(triton, ROWS)))
control.load_model("orders")
assert client.is_model_ready("orders") and scores(client.infer("orders", inputs(triton, ROWS))) == single
assert client.is_server_live() and client.is_server_ready()
control.close()
client.close()
print("ok")
