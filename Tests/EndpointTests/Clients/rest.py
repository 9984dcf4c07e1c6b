"""tritonclient over HTTP, unmodified, against a server that serves `clicks` with control allowed: rest.py HOST:PORT."""
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def refused(status, word, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except InferenceServerException as problem:
        assert str(problem.status()) == str(status), problem
        assert word in problem.message(), problem
    else:
        raise AssertionError(f"not refused: {word}")


def inputs(binary):
    city = triton.InferInput("city", [3, 1], "BYTES")
    city.set_data_from_numpy(np.array([["Oslo"], ["Røros"], [""]], dtype=object), binary_data=binary)
    price = triton.InferInput("price", [3, 1], "FP32")
    price.set_data_from_numpy(np.array([[1.5], [-2], [0]], dtype=np.float32), binary_data=binary)
    tags = triton.InferInput("tags", [3, 2], "BYTES")
    tags.set_data_from_numpy(np.array([["a", "b"]] * 3, dtype=object), binary_data=binary)
    return [city, price, tags]


client = triton.InferenceServerClient(sys.argv[1])
assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready("clicks") and client.is_model_ready("clicks", "1")
assert not client.is_model_ready("nothing") and not client.is_model_ready("clicks", "9")
server = client.get_server_metadata()
assert server["name"] == "millrace" and "statistics" in server["extensions"], server
metadata = client.get_model_metadata("clicks")
assert [tensor["name"] for tensor in metadata["inputs"]] == ["city", "price", "tags"], metadata
assert metadata["outputs"] == [{"name": "score", "datatype": "FP32", "shape": [-1, 1]}], metadata
config = client.get_model_config("clicks")
assert config["max_batch_size"] > 0 and config["input"][0]["dims"] == [1], config
assert [(model["name"], model["state"]) for model in client.get_model_repository_index()] == [("clicks", "READY")]

for binary_in in (True, False):
    for outputs in (None, [triton.InferRequestedOutput("score", binary_data=True)], [triton.InferRequestedOutput("score", binary_data=False)]):
        result = client.infer("clicks", inputs(binary_in), outputs=outputs, request_id="e1", timeout=1_000_000, priority=1, parameters={"log": False})
        scores = result.as_numpy("score")
        assert scores.shape == (3, 1) and scores.dtype == np.float32 and (scores == 0.5).all(), scores
        response = result.get_response()
        assert response["id"] == "e1" and response["model_version"] == "1", response
        assert "position" in response["parameters"], response
pending = [client.async_infer("clicks", inputs(True), model_version="1") for _ in range(8)]
assert all((request.get_result().as_numpy("score") == 0.5).all() for request in pending)

statistics = client.get_inference_statistics("clicks")["model_stats"][0]
assert statistics["inference_stats"]["success"]["count"] == 14 and statistics["inference_count"] == 42, statistics
assert client.get_inference_statistics()["model_stats"][0]["name"] == "clicks"

refused(404, "nothing", client.infer, "nothing", inputs(True))
refused(404, "version", client.get_model_metadata, "clicks", "9")
refused(415, "Content-Encoding", client.infer, "clicks", inputs(True), request_compression_algorithm="gzip")
unknown = triton.InferInput("colour", [1, 1], "BYTES")
unknown.set_data_from_numpy(np.array([["red"]], dtype=object))
refused(400, "colour", client.infer, "clicks", [unknown])
short = triton.InferInput("price", [2, 1], "FP32")
short.set_data_from_numpy(np.array([[1], [2]], dtype=np.float32))
short.set_shape([3, 1])
refused(400, "price", client.infer, "clicks", [short])
refused(400, "other", client.infer, "clicks", inputs(True), outputs=[triton.InferRequestedOutput("other")])

client.unload_model("clicks")
assert not client.is_model_ready("clicks")
assert client.get_model_repository_index()[0]["state"] == "UNAVAILABLE"
refused(404, "clicks", client.infer, "clicks", inputs(True))
refused(400, "config", client.load_model, "clicks", config="{}")
refused(400, "parameters", client.load_model, "clicks", files={"file:1/model.onnx": b"x"}, config="{}")
refused(404, "nothing", client.load_model, "nothing")
client.load_model("clicks")
assert client.is_model_ready("clicks")

assert client.update_log_settings({"log_verbose_level": 1})["log_verbose_level"] == 1
refused(400, "files", client.update_log_settings, {"log_file": "/tmp/x"})
assert client.update_log_settings({"log_verbose_level": 0})["log_verbose_level"] == 0
assert client.get_trace_settings()["trace_level"] == ["OFF"]
refused(400, "not traced", client.update_trace_settings, "clicks", {"trace_level": ["TIMESTAMPS"]})
refused(501, "shared memory", client.register_system_shared_memory, "region", "/region", 64)
print("ok")
