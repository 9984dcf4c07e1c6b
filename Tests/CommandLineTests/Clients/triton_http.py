"""tritonclient over REST, unmodified; and plain JSON as a script sends it."""
import json
import urllib.error
import urllib.request

import tritonclient.http as triton

from orders import ROWS, arguments, inputs, refused, scores

given = arguments()
client = triton.InferenceServerClient(url=given["http"])
assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready("orders") and client.is_model_ready("orders", "1")
assert client.get_server_metadata()["name"] == "millrace"
metadata = client.get_model_metadata("orders")
assert [i["name"] for i in metadata["inputs"]] == ["store", "courier", "distance"], metadata

# Binary tensors, which are tritonclient's default, and JSON.
binary = scores(client.infer("orders", inputs(triton, ROWS)))
text = []
for tensor, name in zip(inputs(triton, ROWS), ["store", "courier", "distance"]):
    import numpy as np

    values = np.array([[row[["store", "courier", "distance"].index(name)]] for row in ROWS],
                      dtype=np.float32 if name == "distance" else np.object_)
    tensor.set_data_from_numpy(values, binary_data=False)
    text.append(tensor)
in_json = scores(client.infer("orders", text, outputs=[triton.InferRequestedOutput("score", binary_data=False)]))
assert in_json == binary, (in_json, binary)
refused("415", "gzip", lambda: client.infer("orders", inputs(triton, ROWS), request_compression_algorithm="gzip"))
assert client.get_inference_statistics("orders")["model_stats"][0]["inference_stats"]["success"]["count"] > 0

refused("404", "nothing", lambda: client.infer("nothing", inputs(triton, ROWS)))
bad = triton.InferInput("curier", [1, 1], "BYTES")
bad.set_data_from_numpy(np.array([["ann"]], dtype=np.object_))
refused("400", "curier", lambda: client.infer("orders", [bad]))

# As a script does it.
body = {"inputs": [{"name": "store", "datatype": "BYTES", "shape": [1, 1], "data": ["harbour"]}]}
request = urllib.request.Request(
    f"http://{given['http']}/v2/models/orders/infer", json.dumps(body).encode(), {"content-type": "application/json"})
answer = json.load(urllib.request.urlopen(request, timeout=30))
assert answer["model_name"] == "orders" and 0 < answer["outputs"][0]["data"][0] < 1, answer
try:
    urllib.request.urlopen(f"http://{given['http']}/v2/models/none/ready", timeout=30)
    raise AssertionError("a model that is not there is ready")
except urllib.error.HTTPError as error:
    assert 400 <= error.code < 500, error.code
client.close()
print("ok")
