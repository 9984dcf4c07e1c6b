"""tritonclient, unmodified, against models from bundles: bundles.py GRPC REST FOLDER.

`fraud` is a forest over a and b (version + (a > 0.5)), in the versions of FOLDER; `ranker` is linear over x, y and z with two outputs.
"""
import os
import sys

import numpy as np
import tritonclient.grpc as triton
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

grpc_address, rest_address, folder = sys.argv[1:]


def refused(word, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except InferenceServerException as problem:
        assert word in problem.message(), problem
    else:
        raise AssertionError(f"not refused: {word}")


def tensor(kind, name, values, datatype="FP32"):
    values = np.array(values, dtype={"FP32": np.float32, "FP64": np.float64, "INT64": np.int64}[datatype])
    made = kind.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


def check(kind, client, as_dict):
    # The whole tensor, and single columns.
    whole = client.infer("fraud", [tensor(kind, "input", [[0, 1], [1, 1], [np.nan, 0]])])
    assert whole.as_numpy("output").tolist() == [[1], [2], [1]], whole.as_numpy("output")
    columns = client.infer("fraud", [tensor(kind, "b", [[1], [1]]), tensor(kind, "a", [[0], [1]], "FP64")])
    assert columns.as_numpy("output").tolist() == [[1], [2]]
    dense = client.infer("ranker", [tensor(kind, "input", [[2, 4, 6]], "FP64")], outputs=[kind.InferRequestedOutput("output")])
    assert dense.as_numpy("output").tolist() == [[7, 11]], dense.as_numpy("output")
    integers = client.infer("ranker", [tensor(kind, "input", [[2, 4, 6]], "INT64")])
    assert integers.as_numpy("output").tolist() == [[7, 11]]
    refused("max_batch_size", client.infer, "ranker", [tensor(kind, "input", [[0, 0, 0]] * 101)])
    refused("no such input", client.infer, "fraud", [tensor(kind, "agee", [[0]])])
    refused("not as many elements", client.infer, "ranker", [tensor(kind, "input", [[0, 0]])])
    for version in ("1", "stable", ""):
        assert client.infer("fraud", [tensor(kind, "a", [[0]])], model_version=version).as_numpy("output").tolist() == [[1]]
    refused("no version", client.infer, "fraud", [tensor(kind, "a", [[0]])], model_version="canary")
    metadata = client.get_model_metadata("fraud", **as_dict)
    assert metadata["inputs"][0]["name"] == "input" and [int(size) for size in metadata["inputs"][0]["shape"]] == [-1, 2], metadata
    assert metadata["outputs"][0]["datatype"] == "FP32" and metadata["versions"] == ["1"], metadata
    config = client.get_model_config("ranker", **as_dict)
    config = config.get("config", config)
    assert config["max_batch_size"] == 100 and [int(size) for size in config["output"][0]["dims"]] == [2], config
    assert not config["input"][0].get("optional", False) or True
    statistics = client.get_inference_statistics("ranker", **as_dict)["model_stats"][0]
    assert int(statistics["inference_count"]) >= 2, statistics
    assert client.is_model_ready("fraud") and client.is_model_ready("fraud", "stable") and not client.is_model_ready("fraud", "2")


client = triton.InferenceServerClient(grpc_address)
rest = triton_http.InferenceServerClient(rest_address)
check(triton, client, {"as_json": True})
check(triton_http, rest, {})

# A bad version is named in the index, and changes nothing.
with open(f"{folder}/9.millrace", "wb") as bad:
    bad.write(b"no bundle")
refused("9.millrace", client.load_model, "fraud")
index = client.get_model_repository_index(as_json=True)["models"]
assert any(line.get("version") == "9" and line["state"] == "UNAVAILABLE" and line["reason"] for line in index), index
assert client.infer("fraud", [tensor(triton, "a", [[0]])]).as_numpy("output").tolist() == [[1]]
os.remove(f"{folder}/9.millrace")

# A new version takes over by a load.
os.rename(f"{folder}/next", f"{folder}/2.millrace")
rest.load_model("fraud")
answer = client.infer("fraud", [tensor(triton, "a", [[0]])])
assert answer.as_numpy("output").tolist() == [[2]] and answer.get_response().model_version == "2"
refused("no version", client.infer, "fraud", [tensor(triton, "a", [[0]])], model_version="1")

# Off and on again.
client.unload_model("ranker")
refused("not served", client.infer, "ranker", [tensor(triton, "input", [[0, 0, 0]])])
client.load_model("ranker")
assert client.infer("ranker", [tensor(triton, "input", [[0, 0, 0]])]).as_numpy("output").tolist() == [[1, -1]]
print("ok")
