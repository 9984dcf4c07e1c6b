"""grpcio's health and reflection clients against a server that has health and reflection: health_reflection.py HOST:PORT.

Says "watching" when a Watch call of the service "a" has had its first answer, and expects a change to SERVING then."""
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf import message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

channel = grpc.insecure_channel(sys.argv[1])
health = health_pb2_grpc.HealthStub(channel)
assert health.Check(health_pb2.HealthCheckRequest(), timeout=30).status == health_pb2.HealthCheckResponse.SERVING
try:
    health.Check(health_pb2.HealthCheckRequest(service="nothing"), timeout=30)
    raise AssertionError("an unknown service was answered")
except grpc.RpcError as problem:
    assert problem.code() == grpc.StatusCode.NOT_FOUND, problem
assert next(health.Watch(health_pb2.HealthCheckRequest(service="nothing"), timeout=30)).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
watch = health.Watch(health_pb2.HealthCheckRequest(service="a"), timeout=30)
assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
print("watching", flush=True)
assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
watch.cancel()

database = ProtoReflectionDescriptorDatabase(channel)
services = list(database.get_services())
assert "grpc.health.v1.Health" in services and "grpc.reflection.v1.ServerReflection" in services, services
pool = DescriptorPool(database)
for name in services:
    service = pool.FindServiceByName(name)
    for method in service.methods:
        message_factory.GetMessageClass(method.input_type)
        message_factory.GetMessageClass(method.output_type)
method = pool.FindServiceByName("grpc.health.v1.Health").FindMethodByName("Check")
request, response = (message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type))
call = channel.unary_unary(
    "/grpc.health.v1.Health/Check", request_serializer=request.SerializeToString, response_deserializer=response.FromString)
assert call(request(service=""), timeout=30).status == 1

# Both names of reflection, with many requests on one stream.
for name in ("v1", "v1alpha"):
    info = channel.stream_stream(
        f"/grpc.reflection.{name}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString)
    questions = [reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health"),
                 reflection_pb2.ServerReflectionRequest(file_by_filename="nothing.proto"),
                 reflection_pb2.ServerReflectionRequest(file_containing_extension=reflection_pb2.ExtensionRequest(
                     containing_type="grpc.health.v1.HealthCheckRequest", extension_number=1)),
                 reflection_pb2.ServerReflectionRequest(list_services="")] * 200
    answers = list(info(iter(questions), timeout=60))
    assert len(answers) == 800
    for question, answer in zip(questions, answers):
        assert answer.original_request == question
    assert answers[0].WhichOneof("message_response") == "file_descriptor_response"
    assert answers[1].error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert answers[2].error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert [service.name for service in answers[3].list_services_response.service] == services
print("ok")
