"""A file of cases: models with inputs and what their origin answers, as CaseFile.swift reads them.

Bytes: "MRCASES1", then for each case: name, group, reason to skip (empty: none), relative and absolute tolerance (two
little-endian doubles), the ModelProto, the inputs, the outputs. Texts and messages are preceded by their length (32 bits,
little-endian), lists by their count. A tensor is its TensorProto, named; no bytes: it is not given.
"""

import struct

import numpy as np
import onnx
from onnx import numpy_helper


class CaseWriter:
    def __init__(self, path):
        self.file = open(path, "wb")
        self.file.write(b"MRCASES1")
        self.count = 0

    def _block(self, data):
        self.file.write(struct.pack("<I", len(data)))
        self.file.write(data)

    def _tensors(self, tensors):
        self.file.write(struct.pack("<I", len(tensors)))
        for name, value in tensors:
            self._block(b"" if value is None else tensor(value, name).SerializeToString())

    def add(self, name, group, model, inputs, outputs, rtol=1e-5, atol=1e-5, skip=""):
        """inputs and outputs: lists of (name, array or TensorProto)."""
        for text in (name, group, skip):
            self._block(text.encode())
        self.file.write(struct.pack("<dd", rtol, atol))
        self._block(model if isinstance(model, bytes) else model.SerializeToString())
        self._tensors([] if skip else inputs)
        self._tensors([] if skip else outputs)
        self.count += 1

    def close(self):
        self.file.close()


def tensor(value, name):
    if isinstance(value, onnx.TensorProto):
        value.name = name
        return value
    value = np.asarray(value)
    if value.dtype.kind == "U":
        value = value.astype(object)
    return numpy_helper.from_array(np.asarray(value, order="C"), name)
