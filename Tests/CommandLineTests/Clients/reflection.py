"""grpcio's own health and reflection clients, and with them what grpcurl does: calls by name, without a proto file.

A label that comes by Ingest is joined with a request that was answered over gRPC, and the model learns from it.
"""
import base64
import struct

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orders import arguments, eventually
from reflected import Reflected

server = Reflected(arguments()["grpc"])
health = health_pb2_grpc.HealthStub(server.channel)
SERVING = health_pb2.HealthCheckResponse.SERVING
for service in ["", "inference.GRPCInferenceService", "millrace.Ingest"]:
    assert health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status == SERVING, service
try:
    health.Check(health_pb2.HealthCheckRequest(service="nothing"), timeout=10)
    raise AssertionError("a service that is not there is healthy")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.NOT_FOUND, error
assert next(iter(health.Watch(health_pb2.HealthCheckRequest(), timeout=30))).status == SERVING

assert server.services >= {"inference.GRPCInferenceService", "millrace.Ingest", "grpc.health.v1.Health"}, server.services


def ask(identifier, **parameters):
    answer = server.call("inference.GRPCInferenceService/ModelInfer", {
        "modelName": "orders", "id": identifier, "parameters": parameters,
        "inputs": [
            {"name": "store", "datatype": "BYTES", "shape": [1, 1], "contents": {"bytesContents": ["Y2Fub2U="]}},
            {"name": "distance", "datatype": "FP32", "shape": [1, 1], "contents": {"fp32Contents": [4.2]}},
        ]})
    return struct.unpack("<f", base64.b64decode(answer["rawOutputContents"][0]))[0]


assert server.call("inference.GRPCInferenceService/ServerReady", {}) == {"ready": True}
before = ask("", log={"boolParam": False})
# The request is logged under its id; its label comes by Ingest; the next request meets a model that has learned.
answered = ask("rpc-1", key={"stringParam": "rpc-1"})
acks = server.call("millrace.Ingest/PublishLabels", {"sequence": 7, "labels": [{"id": "rpc-1", "key": "cnBjLTE=", "label": 1}]})
assert len(acks) == 1 and int(acks[0]["sequence"]) == 7 and not acks[0].get("refusals"), acks
learned = eventually("a label to be learned", lambda: (lambda s: s if s != before else None)(ask("", log={"boolParam": False})))
assert learned > before, (before, answered, learned)
print("ok")
