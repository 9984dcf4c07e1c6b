"""What grpcurl does: calls by name and JSON, from what the server's reflection says, without a proto file. By grpcio's own client."""
import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Reflected:
    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        database = ProtoReflectionDescriptorDatabase(self.channel)
        self.services = set(database.get_services())
        self.pool = descriptor_pool.DescriptorPool(database)

    def call(self, name, *messages):
        """As `grpcurl -plaintext -d '{...}' ADDRESS SERVICE/METHOD`: JSON in, JSON out, bytes as base64. A list for streaming methods."""
        service, method = name.split("/")
        description = self.pool.FindServiceByName(service).FindMethodByName(method)
        request = message_factory.GetMessageClass(description.input_type)
        answer = message_factory.GetMessageClass(description.output_type)
        requests = [json_format.ParseDict(message, request()) for message in messages]
        kind = self.channel.stream_stream if description.client_streaming else self.channel.unary_unary
        invoke = kind("/" + name, request_serializer=request.SerializeToString, response_deserializer=answer.FromString)
        if description.client_streaming:
            return [json_format.MessageToDict(message) for message in invoke(iter(requests), timeout=30)]
        return json_format.MessageToDict(invoke(requests[0], timeout=30))
