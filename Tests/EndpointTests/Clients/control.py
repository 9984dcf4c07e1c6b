"""tritonclient and reflection over gRPC, unmodified: control.py PUBLIC CONTROL, two listeners of one server that serves `clicks` and `other`."""
import asyncio
import sys

import grpc
import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.utils import InferenceServerException

SERVICE = "inference.GRPCInferenceService"


def refused(code, word, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except InferenceServerException as problem:
        assert problem.status() == f"StatusCode.{code}", problem
        assert word in problem.message(), problem
    else:
        raise AssertionError(f"not refused: {word}")


def city():
    tensor = triton.InferInput("city", [2, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([["Oslo"], ["Røros"]], dtype=object))
    return tensor


def reads(client, changes):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("clicks") and client.is_model_ready("clicks", "1")
    assert not client.is_model_ready("nothing") and not client.is_model_ready("clicks", "9")
    server = client.get_server_metadata()
    assert server.name == "millrace" and server.version == "1.2.3" and "statistics" in server.extensions
    assert ("logging" in server.extensions) == changes
    metadata = client.get_model_metadata("clicks")
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in metadata.inputs] == [
        ("city", "BYTES", [-1, 1]), ("price", "FP32", [-1, 1]), ("tags", "BYTES", [-1, -1])], metadata
    config = client.get_model_config("clicks").config
    assert config.max_batch_size > 1 and not config.model_transaction_policy.decoupled and config.backend == "millrace"
    assert [list(tensor.dims) for tensor in config.input] == [[1], [1], [-1]] and config.output[0].name == "score"
    assert client.get_model_config("clicks", as_json=True)["config"]["version_policy"] == {"specific": {"versions": ["1"]}}
    assert [(model.name, model.version, model.state) for model in client.get_model_repository_index().models] == [
        ("clicks", "1", "READY"), ("other", "1", "READY")]
    assert [model.name for model in client.get_inference_statistics().model_stats] == ["clicks", "other"]
    refused("NOT_FOUND", "clicks", client.get_model_metadata, "clocks")
    refused("NOT_FOUND", "9", client.get_model_config, "clicks", "9")
    refused("NOT_FOUND", "nothing", client.get_inference_statistics, "nothing")
    refused("UNIMPLEMENTED", "shared memory", client.get_system_shared_memory_status)
    refused("UNIMPLEMENTED", "shared memory", client.register_system_shared_memory, "region", "/region", 64)
    refused("UNIMPLEMENTED", "shared memory", client.unregister_cuda_shared_memory)


public = triton.InferenceServerClient(sys.argv[1])
control = triton.InferenceServerClient(sys.argv[2])
reads(public, False)
reads(control, True)

scores = public.infer("clicks", [city()], request_id="e1").as_numpy("score")
assert scores.shape == (2, 1) and (scores == 0.5).all()
counted = public.get_inference_statistics("clicks").model_stats[0]
assert counted.inference_count == 2 and counted.execution_count == 1 and counted.inference_stats.success.count == 1, counted
assert counted.last_inference > 1_600_000_000_000 and counted.batch_stats[0].batch_size == 2, counted

for call, arguments in (
        (public.unload_model, ("clicks",)), (public.load_model, ("clicks",)), (public.get_log_settings, ()), (public.get_trace_settings, ()),
        (public.update_log_settings, ({"log_verbose_level": 1},)), (public.update_trace_settings, (None, {"trace_level": ["OFF"]}))):
    refused("PERMISSION_DENIED", sys.argv[2], call, *arguments)

control.unload_model("clicks")
assert not public.is_model_ready("clicks")
refused("NOT_FOUND", "clicks", public.infer, "clicks", [city()])
unloaded = public.get_model_repository_index().models[0]
assert unloaded.state == "UNAVAILABLE" and unloaded.reason == "unloaded", unloaded
refused("INVALID_ARGUMENT", "configuration", control.load_model, "clicks", config="{}")
refused("INVALID_ARGUMENT", "parameters", control.load_model, "clicks", config="{}", files={"file:1/model.onnx": b"x"})
refused("NOT_FOUND", "clicks (1)", control.load_model, "nothing")
control.load_model("clicks")
assert (public.infer("clicks", [city()]).as_numpy("score") == 0.5).all()

settings = control.get_log_settings(as_json=True)["settings"]
assert settings["log_info"] == {"bool_param": True} and settings["log_verbose_level"].get("uint32_param", 0) == 0, settings
assert control.update_log_settings({"log_verbose_level": 2}).settings["log_verbose_level"].uint32_param == 2
assert control.update_log_settings({"log_verbose_level": 0, "log_info": False}).settings["log_info"].bool_param is False
control.update_log_settings({"log_info": True})
refused("INVALID_ARGUMENT", "files", control.update_log_settings, {"log_file": "/tmp/x"})
assert list(control.get_trace_settings().settings["trace_level"].value) == ["OFF"]
assert list(control.update_trace_settings("clicks", {"trace_level": ["OFF"]}).settings["trace_level"].value) == ["OFF"]
refused("INVALID_ARGUMENT", "not traced", control.update_trace_settings, None, {"trace_level": ["TIMESTAMPS"]})
refused("INVALID_ARGUMENT", "files", control.update_trace_settings, None, {"trace_file": "/tmp/x"})
refused("NOT_FOUND", "nothing", control.update_trace_settings, "nothing", {})


async def asynchronous():
    async with triton_aio.InferenceServerClient(sys.argv[1]) as client:
        assert await client.is_server_ready() and await client.is_model_ready("clicks")
        answers = await asyncio.gather(*(client.get_model_metadata(name) for name in ("clicks", "other") * 20))
        assert [answer.name for answer in answers] == ["clicks", "other"] * 20
        answers = await asyncio.gather(*(client.infer("clicks", [city()], request_id=str(index)) for index in range(20)))
        assert [answer.get_response().id for answer in answers] == [str(index) for index in range(20)]


asyncio.run(asynchronous())

# As grpcurl does it: no proto file, only what reflection says.
channel = grpc.insecure_channel(sys.argv[1])
database = ProtoReflectionDescriptorDatabase(channel)
assert SERVICE in database.get_services(), database.get_services()
service = DescriptorPool(database).FindServiceByName(SERVICE)
official = __import__("tritonclient.grpc.service_pb2", fromlist=["DESCRIPTOR"]).DESCRIPTOR.services_by_name["GRPCInferenceService"]


def call(name, request):
    method = service.methods_by_name[name]
    kinds = [message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type)]
    invoke = channel.unary_unary(
        f"/{SERVICE}/{name}", request_serializer=kinds[0].SerializeToString, response_deserializer=kinds[1].FromString)
    return json_format.MessageToDict(invoke(json_format.ParseDict(request, kinds[0]()), timeout=30), preserving_proto_field_name=True)


assert call("ModelReady", {"name": "clicks"}) == {"ready": True}
answer = call("ModelInfer", {"model_name": "clicks", "inputs": [
    {"name": "city", "datatype": "BYTES", "shape": [1, 1], "contents": {"bytes_contents": ["T3Nsbw=="]}}]})
assert answer["outputs"][0]["name"] == "score", answer

# Every method and field of ours is one that tritonclient's own contract has, by name, number and kind; this one is from KServe's.
elsewhere = {"inference.ModelMetadataResponse.properties"}
seen = set()


def compare(ours, theirs):
    if ours.full_name in seen:
        return
    seen.add(ours.full_name)
    for field in ours.fields:
        if field.full_name in elsewhere:
            continue
        match = theirs.fields_by_name.get(field.name)
        assert match is not None, f"{ours.full_name}.{field.name}"
        assert (match.number, match.type, match.is_repeated) == (field.number, field.type, field.is_repeated), f"{ours.full_name}.{field.name}"
        if field.message_type is not None:
            compare(field.message_type, match.message_type)
        if field.enum_type is not None:
            for value in field.enum_type.values:
                assert match.enum_type.values_by_name[value.name].number == value.number, f"{field.enum_type.full_name}.{value.name}"


assert set(service.methods_by_name) == set(official.methods_by_name)
for method in service.methods:
    compare(method.input_type, official.methods_by_name[method.name].input_type)
    compare(method.output_type, official.methods_by_name[method.name].output_type)
assert len(seen) > 50, seen
print("ok")
