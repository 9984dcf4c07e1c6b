"""Runs what the documentation shows: Python, grpcurl (by reflection, as grpcurl does), curl and `millrace predict`."""
import json
import re
import shlex
import subprocess
import urllib.request

from orders import arguments
from reflected import Reflected

given = arguments()
server = Reflected(given["grpc"])
ran = {"python": 0, "grpcurl": 0, "curl": 0, "millrace": 0}


def here(text):
    """The usual ports are those of somebody else on a machine that runs tests."""
    for port, key in [("8000", "http"), ("8001", "grpc"), ("8003", "control")]:
        text = text.replace(f"127.0.0.1:{port}", given[key])
    return text


def run(words, command):
    if words[0] == "grpcurl":
        assert words[1] == "-plaintext", command
        if words[3:] == ["list"]:
            assert "inference.GRPCInferenceService" in server.services
        else:
            assert words[2] == "-d" and words[4] == given["grpc"], command
            assert server.call(words[5], json.loads(words[3])), command
    elif words[0] == "curl" and given["http"] in words[1]:
        body = words[words.index("-d") + 1].encode() if "-d" in words else None
        assert json.load(urllib.request.urlopen(urllib.request.Request(words[1], body), timeout=30)), command
    elif words[:2] == ["millrace", "predict"] and words[2:4] == ["--model", "orders"]:
        done = subprocess.run([given["millrace"], *words[1:], "--target", given["grpc"]], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stdout, (command, done)
    else:
        return
    ran[words[0]] += 1


for path in given["files"].split(","):
    with open(path) as file:
        text = file.read()
    # The blocks of a page go on from each other.
    names = {}
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(compile(here(block), path, "exec"), names)
            ran["python"] += 1
        elif language == "":
            # A command goes on over lines that end in a backslash, or within quotes.
            rest = here(block)
            while rest.strip():
                lines = rest.splitlines(keepends=True)
                for count in range(1, len(lines) + 1):
                    command = "".join(lines[:count])
                    if command.rstrip().endswith("\\"):
                        continue
                    try:
                        words = shlex.split(command.replace("\\\n", " "), comments=True)
                        break
                    except ValueError:
                        continue
                else:
                    raise AssertionError(f"{path}: not a command: {rest}")
                rest = "".join(lines[count:])
                if words:
                    run(words, command)
assert all(ran.values()), ran
print(ran, "ok")
