"""Two servers, and a client that knows both: each is stopped and started again under load, and no request fails.

Nothing but grpcio's own behaviour is asked for: it sends again what a server says it has not taken.
"""
import sys
import threading
import time

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from orders import ROWS, arguments

given = arguments()
target = "ipv4:" + given["servers"]
options = [("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}')]
stopping = threading.Event()
lock = threading.Lock()
done, failures = [0], []
channels = [grpc.insecure_channel(target, options + [("grpc.channel_id", n)]) for n in range(2)]


def request():
    message = service_pb2.ModelInferRequest(model_name="orders")
    for position, name in enumerate(["store", "courier"]):
        tensor = message.inputs.add(name=name, datatype="BYTES", shape=[1, 1])
        tensor.contents.bytes_contents.append(ROWS[0][position].encode())
    return message


def work(channel):
    infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
    message = request()
    while not stopping.is_set():
        try:
            infer(message, timeout=30, wait_for_ready=True)
            with lock:
                done[0] += 1
        except grpc.RpcError as error:
            with lock:
                failures.append(f"{error.code()}: {error.details()}")


threads = [threading.Thread(target=work, args=(channels[n % len(channels)],), daemon=True) for n in range(8)]
for thread in threads:
    thread.start()
# The test reads how far it is, stops servers meanwhile, and closes the input to end it.
for _ in sys.stdin:
    with lock:
        print(f"{done[0]} {len(failures)}", flush=True)
stopping.set()
for thread in threads:
    thread.join(timeout=60)
assert not failures, f"{len(failures)} of {done[0]} failed: {failures[:5]}"
print(f"ok {done[0]}", flush=True)
