"""Writes requests.txt: requests as tritonclient serializes them, for InferRequestWriterTests.
   pip install tritonclient[grpc]==2.73.0 numpy; python requests.py > requests.txt"""
import numpy as np
import tritonclient.grpc as grpc
from tritonclient.grpc._utils import _get_inference_request


def tensor(name, datatype, values):
    array = np.array(values, dtype=object if datatype == "BYTES" else {
        "FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "INT8": np.int8, "UINT16": np.uint16, "BOOL": bool, "FP16": np.float16,
    }[datatype])
    made = grpc.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def show(name, inputs, version="", id="", outputs=None, timeout=None, parameters=None):
    request = _get_inference_request(
        model_name="flights", inputs=inputs, model_version=version, request_id=id, outputs=outputs, sequence_id=0, sequence_start=False,
        sequence_end=False, priority=0, timeout=timeout, parameters=parameters)
    print(name, request.SerializeToString(deterministic=True).hex())


long = "a" * 200
show("plain", [tensor("carrier", "BYTES", [[b"AA"]]), tensor("temp", "FP32", [[3.2]])])
show("named", [tensor("carrier", "BYTES", [[b"AA"]])], version="1", id="u1", outputs=[grpc.InferRequestedOutput("score")])
show("timeout", [tensor("temp", "FP32", [[-0.5]])], timeout=250000)
show("key", [tensor("temp", "FP32", [[1]])], parameters={"key": "k1"})
show("rows", [tensor("carrier", "BYTES", [[b"AA", b""], [b"UA", "Zürich".encode()]]), tensor("temp", "FP32", [[1], [2]])])
show("long", [tensor(long, "BYTES", [[b"x" * 300]])], id=long)
show("types", [
    tensor("a", "INT64", [[-1]]), tensor("b", "INT8", [[-128]]), tensor("c", "UINT16", [[65535]]), tensor("d", "BOOL", [[True]]),
    tensor("e", "FP64", [[1e300]]), tensor("f", "FP16", [[0.333]])])
show("vector", [tensor("x", "FP32", [[0.0] * 16])])
