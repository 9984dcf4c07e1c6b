"""TLS: a client that trusts the server's authority is answered, others are not; with mTLS a client needs a certificate too."""
import grpc
import tritonclient.grpc as triton

from orders import ROWS, arguments, inputs, scores

given = arguments()
folder = given["certificates"]


def read(name):
    with open(f"{folder}/{name}", "rb") as file:
        return file.read()


def attempt(credentials):
    """Without waiting: a handshake that fails ends the call at once."""
    with grpc.secure_channel(given["grpc"], credentials) as channel:
        try:
            channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=20)
            return True
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
            return False


if given["client"] == "certified":
    client = triton.InferenceServerClient(
        url=given["grpc"], ssl=True, root_certificates=f"{folder}/ca.pem", private_key=f"{folder}/client.key",
        certificate_chain=f"{folder}/client.pem")
else:
    client = triton.InferenceServerClient(url=given["grpc"], ssl=True, root_certificates=f"{folder}/ca.pem")
assert client.is_server_ready()
assert len(scores(client.infer("orders", inputs(triton, ROWS)))) == 3
client.close()
# Somebody else's authority.
assert not attempt(grpc.ssl_channel_credentials(read("other.pem")))
if given["client"] == "certified":
    assert not attempt(grpc.ssl_channel_credentials(read("ca.pem"))), "a client without a certificate was answered"
    assert not attempt(grpc.ssl_channel_credentials(read("ca.pem"), read("stranger.key"), read("stranger.pem"))), "a stranger was answered"
print("ok")
