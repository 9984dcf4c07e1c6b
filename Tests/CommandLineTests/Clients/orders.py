"""What the scripts share: the model of the quick start, asked in different ways."""
import sys
import time

import numpy as np

ROWS = [("harbour", "ann", 4.2), ("harbour", "ben", 1.0), ("station", "ann", 12.5)]


def inputs(module, rows):
    """The named inputs of these rows, for tritonclient.grpc or tritonclient.http."""
    made = []
    for index, (name, datatype, dtype) in enumerate(
        [("store", "BYTES", np.object_), ("courier", "BYTES", np.object_), ("distance", "FP32", np.float32)]
    ):
        values = np.array([[row[index]] for row in rows], dtype=dtype)
        tensor = module.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values)
        made.append(tensor)
    return made


def scores(result):
    values = result.as_numpy("score")
    assert values.dtype == np.float32 and values.ndim == 2 and values.shape[1] == 1, (values.dtype, values.shape)
    return [float(value) for value in values[:, 0]]


def eventually(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def refused(code, words, call):
    """The call fails with this status, and its message has these words."""
    try:
        call()
    except Exception as error:  # noqa: BLE001: each client has a class of its own
        text = str(error)
        assert code in text, f"expected {code}, got {text}"
        for word in words if isinstance(words, (list, tuple)) else [words]:
            assert word in text, f"expected {word!r} in {text}"
        return
    raise AssertionError(f"expected {code} with {words!r}, but the call succeeded")


def arguments():
    """address=..., as a dictionary."""
    return dict(argument.split("=", 1) for argument in sys.argv[1:])
