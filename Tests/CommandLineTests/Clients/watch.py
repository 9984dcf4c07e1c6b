"""Prints what health says of the server until the server ends the call, by grpcio's own health client."""
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orders import arguments

names = health_pb2.HealthCheckResponse.ServingStatus.Name
stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(arguments()["grpc"]))
try:
    for answer in stub.Watch(health_pb2.HealthCheckRequest(service=arguments().get("service", ""))):
        print(names(answer.status), flush=True)
except grpc.RpcError as error:
    print(error.code().name, flush=True)
