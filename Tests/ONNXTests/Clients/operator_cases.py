"""Small models of one operator each at several opsets, with what onnxruntime answers: operator_cases.py FILE [SEED]

The `onnx` package's node tests have the newest form of each operator alone; these have the older forms (attributes where there are
inputs now, other defaults), odd shapes, broadcasting, negative axes and empty dimensions. What onnxruntime refuses is counted.
"""

import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from cases import CaseWriter

OPSETS = [9, 11, 13, 17, 21]
ML_OPSETS = {9: 1, 11: 2, 13: 2, 17: 3, 21: 4}
onnxruntime.set_default_logger_severity(4)


class Cases:
    def __init__(self, path, seed):
        self.writer = CaseWriter(path)
        self.random = np.random.default_rng(seed)
        self.refused = {}
        self.opset = 0
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = 1
        self.options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL

    def floats(self, *shape, dtype=np.float32, scale=2.0):
        return (self.random.standard_normal(shape) * scale).astype(dtype)

    def ints(self, low, high, *shape, dtype=np.int64):
        return self.random.integers(low, high, shape).astype(dtype)

    def booleans(self, *shape):
        return self.random.random(shape) < 0.5

    def add(self, op, inputs, outputs=1, constants=(), domain="", rtol=1e-5, atol=1e-5, **attributes):
        """constants: places of the inputs that are initializers, which the graph's folding may use."""
        names = ["" if value is None else f"x{i}" for i, value in enumerate(inputs)]
        results = [f"y{i}" for i in range(outputs)]
        node = helper.make_node(op, names, results, domain=domain, **attributes)
        given = [i for i, value in enumerate(inputs) if value is not None and i not in constants]
        protos = [None if value is None else numpy_helper.from_array(np.asarray(value), name) for value, name in zip(inputs, names)]
        graph = helper.make_graph(
            [node], op,
            [helper.make_tensor_value_info(names[i], protos[i].data_type, list(protos[i].dims)) for i in given],
            [onnx.ValueInfoProto(name=name) for name in results],
            [protos[i] for i in constants if protos[i] is not None])
        imports = [helper.make_opsetid("", self.opset)]
        if domain:
            imports.append(helper.make_opsetid(domain, ML_OPSETS[self.opset]))
        model = helper.make_model(graph, opset_imports=imports, ir_version=min(10, {9: 4, 11: 6, 13: 7, 17: 8, 21: 10}[self.opset]))
        name = f"{op}_{self.opset}_{self.writer.count}"
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), self.options, providers=["CPUExecutionProvider"])
            answers = session.run(None, {names[i]: np.asarray(inputs[i]) for i in given})
        except Exception as error:  # noqa: BLE001: whatever it refuses, and why it says so
            self.refused.setdefault(op, []).append((name, str(error).splitlines()[0][:160]))
            return
        if any(isinstance(answer, (list, dict)) for answer in answers):
            answers = [zipmap_table(answer) if isinstance(answer, list) else answer for answer in answers]
        for result, answer, session_output in zip(graph.output, answers, session.get_outputs()):
            array = np.asarray(answer)
            kind = TensorProto.STRING if array.dtype.kind in "UO" else helper.np_dtype_to_tensor_dtype(array.dtype)
            result.CopyFrom(helper.make_tensor_value_info(result.name, kind, [None] * array.ndim))
        model.graph.CopyFrom(graph)
        self.writer.add(
            name, op, model, [(names[i], inputs[i]) for i in given], list(zip(results, answers)), rtol=rtol, atol=atol)


def zipmap_table(rows):
    """A list of maps as the matrix of their values: a ZipMap is left out where it is served."""
    return np.array([list(row.values()) for row in rows], np.float32)


def arithmetic(c):
    o = c.opset
    shapes = [((3, 4), (3, 4)), ((2, 3, 5), (5,)), ((4, 1, 3), (1, 7, 1)), ((), (2, 3)), ((0, 3), (3,)), ((17,), (1,)), ((1, 33), (9, 1))]
    for op in ["Add", "Sub", "Mul", "Div"]:
        for a, b in shapes:
            c.add(op, [c.floats(*a), c.floats(*b) + 5])
        for dtype in [np.int32, np.int64, np.float64]:
            c.add(op, [c.ints(-9, 9, 2, 5, dtype=dtype), c.ints(1, 9, 5, dtype=dtype)])
    c.add("Pow", [np.abs(c.floats(3, 4)) + 0.1, c.floats(4)])
    c.add("Pow", [np.abs(c.floats(3, 4)), np.float32(2)], constants=[1])
    c.add("Pow", [np.abs(c.floats(3, 4)), np.float32(0.5)], constants=[1])
    if o >= 12:
        c.add("Pow", [c.floats(3, 4), np.int64(3)])
        c.add("Pow", [c.ints(-4, 4, 3, 4, dtype=np.int32), np.int32(2)])
    unary = ["Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Elu", "Selu", "LeakyRelu", "Softplus", "Identity", "Erf", "Floor", "Ceil", "Sign", "Reciprocal"]
    for op in unary:
        c.add(op, [c.floats(3, 19)])
        c.add(op, [c.floats(0, 4)])
        c.add(op, [c.floats() + 1])
    c.add("Tanh", [c.floats(64, scale=20)])
    c.add("Sigmoid", [c.floats(64, scale=60)])
    c.add("Softplus", [c.floats(64, scale=60)])
    c.add("Exp", [c.floats(64, scale=30)], rtol=1e-5)
    c.add("Elu", [c.floats(33)], alpha=0.3)
    c.add("LeakyRelu", [c.floats(33)], alpha=0.3)
    c.add("Selu", [c.floats(33)], alpha=1.5, gamma=0.7)
    if o >= 20:
        c.add("Gelu", [c.floats(3, 19)])
        c.add("Gelu", [c.floats(3, 19)], approximate="tanh")
    c.add("Sqrt", [np.abs(c.floats(3, 5))])
    c.add("Log", [np.abs(c.floats(3, 5)) + 0.01])
    for dtype in [np.int32, np.int64, np.float64]:
        c.add("Abs", [c.ints(-9, 9, 4, 3, dtype=dtype)])
        c.add("Neg", [c.ints(-9, 9, 4, 3, dtype=dtype)])
    if o < 11:
        c.add("Clip", [c.floats(3, 5)], min=-1.0, max=0.5)
        c.add("Clip", [c.floats(3, 5)], max=0.5)
        c.add("Clip", [c.floats(3, 5)])
    else:
        c.add("Clip", [c.floats(3, 5), np.float32(-1), np.float32(0.5)], constants=[1, 2])
        c.add("Clip", [c.floats(3, 5), None, np.float32(0.5)])
        c.add("Clip", [c.floats(3, 5), np.float32(-1)])
        c.add("Clip", [c.floats(3, 5)])
        if o >= 12:
            c.add("Clip", [c.ints(-9, 9, 3, 5), np.int64(-2), np.int64(4)])
    for op in ["Softmax", "LogSoftmax"]:
        c.add(op, [c.floats(3, 7)])
        c.add(op, [c.floats(2, 3, 5)])
        c.add(op, [c.floats(2, 3, 5)], axis=1)
        c.add(op, [c.floats(2, 3, 5)], axis=0)
        c.add(op, [c.floats(2, 3, 5)], axis=2)
        c.add(op, [c.floats(2, 40, scale=40)], axis=1)
        c.add(op, [c.floats(0, 5)], axis=1)
        if o >= 11:
            c.add(op, [c.floats(2, 3, 5)], axis=-1)
            c.add(op, [c.floats(2, 3, 5)], axis=-2)
    c.add("Sum", [c.floats(3, 4), c.floats(4), c.floats(3, 1)])
    c.add("Mean", [c.floats(3, 4), c.floats(4)])
    c.add("Min", [c.floats(3, 4), c.floats(4)])
    c.add("Max", [c.floats(3, 4), c.floats(4), c.floats(3, 1)])


def matrices(c):
    o = c.opset
    for m, k, n in [(1, 1, 1), (3, 5, 7), (1, 17, 33), (9, 64, 16), (0, 4, 3), (5, 0, 3)]:
        c.add("MatMul", [c.floats(m, k), c.floats(k, n)])
        c.add("MatMul", [c.floats(m, k), c.floats(k, n)], constants=[1])
    c.add("MatMul", [c.floats(5), c.floats(5)])
    c.add("MatMul", [c.floats(2, 3, 5), c.floats(5)])
    c.add("MatMul", [c.floats(5), c.floats(2, 5, 3)])
    c.add("MatMul", [c.floats(2, 3, 5), c.floats(5, 4)], constants=[1])
    c.add("MatMul", [c.floats(2, 1, 3, 5), c.floats(4, 5, 2)])
    c.add("MatMul", [c.floats(2, 3, 5, dtype=np.float64), c.floats(5, 4, dtype=np.float64)])
    for a_t in (0, 1):
        for b_t in (0, 1):
            a = c.floats(*((7, 5) if a_t else (5, 7)))
            b = c.floats(*((3, 7) if b_t else (7, 3)))
            for bias in [c.floats(3), c.floats(5, 1), c.floats(5, 3), c.floats(1, 3), np.float32(0.5)]:
                c.add("Gemm", [a, b, bias], transA=a_t, transB=b_t, alpha=0.7, beta=1.3)
            c.add("Gemm", [a, b, c.floats(3)], constants=[1, 2], transA=a_t, transB=b_t)
            if o >= 11:
                c.add("Gemm", [a, b], transA=a_t, transB=b_t, alpha=2.0)
    c.add("BatchNormalization", [c.floats(4, 6), c.floats(6), c.floats(6), c.floats(6), np.abs(c.floats(6)) + 0.1], constants=[1, 2, 3, 4])
    c.add("BatchNormalization", [c.floats(2, 3, 4, 5), c.floats(3), c.floats(3), c.floats(3), np.abs(c.floats(3)) + 0.1], epsilon=1e-2)
    if o >= 17:
        c.add("LayerNormalization", [c.floats(4, 6), c.floats(6), c.floats(6)])
        c.add("LayerNormalization", [c.floats(4, 6), c.floats(6)], epsilon=1e-2)
        c.add("LayerNormalization", [c.floats(2, 3, 5), c.floats(3, 5), c.floats(3, 5)], axis=1)
        c.add("LayerNormalization", [c.floats(2, 3, 5), c.floats(5), c.floats(5)], axis=-1, outputs=3)


def movement(c):
    o = c.opset
    for axis in [0, 1, 2] + ([-1, -2] if o >= 11 else []):
        parts = [list((2, 3, 4)) for _ in range(3)]
        for i, part in enumerate(parts):
            part[axis] = [1, 5, 2][i]
        c.add("Concat", [c.floats(*part) for part in parts], axis=axis)
        c.add("Concat", [c.ints(-9, 9, *part) for part in parts], axis=axis)
        size = [4, 4, 4]
        size[axis] = 7
        if o < 13:
            c.add("Split", [c.floats(*size)], outputs=3, axis=axis, split=[1, 4, 2])
        else:
            c.add("Split", [c.floats(*size), np.array([1, 4, 2])], outputs=3, axis=axis, constants=[1])
            c.add("Split", [c.floats(*size), np.array([3, 0, 4])], outputs=3, axis=axis)
    c.add("Concat", [c.floats(0, 3), c.floats(2, 3)], axis=0)
    c.add("Concat", [c.booleans(2, 3), c.booleans(2, 1)], axis=1)
    c.add("Concat", [np.array([["a", "b"]], object), np.array([["c"]], object)], axis=1)
    if o >= 18:
        c.add("Split", [c.floats(7, 3)], outputs=3, num_outputs=3)
    else:
        c.add("Split", [c.floats(6, 3)], outputs=3)
    if o < 10:
        c.add("Slice", [c.floats(5, 6, 7)], starts=[1, 2], ends=[4, 100])
        c.add("Slice", [c.floats(5, 6, 7)], starts=[-3, 0], ends=[-1, 1], axes=[2, 0])
        c.add("Slice", [c.ints(0, 9, 5, 6)], starts=[4], ends=[2], axes=[1])
    else:
        for kind in (np.int64, np.int32):
            for constants in ([1, 2, 3, 4], []):
                k = lambda *values: np.array(values, kind)
                c.add("Slice", [c.floats(5, 6, 7), k(1, 2), k(4, 100), k(0, 1), k(1, 2)], constants=constants)
                c.add("Slice", [c.floats(5, 6, 7), k(-1, 5), k(-100, -7), k(2, 1), k(-1, -2)], constants=constants)
                c.add("Slice", [c.floats(5, 6, 7), k(-3, 0), k(-1, 1), k(-1, 0)], constants=constants[:3])
                c.add("Slice", [c.floats(5, 6, 7), k(1, 2), k(3, 4)], constants=constants[:2])
        c.add("Slice", [c.ints(0, 9, 5, 6), np.array([4]), np.array([2]), np.array([1])], constants=[1, 2, 3])
    for axis in [0, 1, 2] + ([-1] if o >= 11 else []):
        low = -4 if o >= 11 else 0
        c.add("Gather", [c.floats(4, 4, 5)] + [c.ints(low, 4, 2, 3)], axis=axis)
        c.add("Gather", [c.floats(4, 4, 5), np.int64(2)], axis=axis, constants=[1])
        c.add("Gather", [c.floats(4, 4, 5), c.ints(low, 4, 6, dtype=np.int32)], axis=axis)
        if o >= 11:
            c.add("GatherElements", [c.floats(4, 4, 5), c.ints(-4, 4, 3, 2, 5)], axis=axis)
            c.add("GatherElements", [c.ints(0, 9, 4, 4, 5), c.ints(-4, 4, 3, 2, 5, dtype=np.int32)], axis=axis)
    c.add("Gather", [c.floats(4, 3), c.ints(0, 4, 0)])
    c.add("Gather", [np.array(["a", "b", "c"], object), c.ints(0, 3, 5)])
    c.add("Gather", [c.booleans(4, 3), c.ints(0, 4, 5)])
    for perm in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1], [2, 0, 1]]:
        c.add("Transpose", [c.floats(3, 4, 5)], perm=perm)
        c.add("Transpose", [c.ints(-9, 9, 3, 4, 5, dtype=np.int8)], perm=perm)
    c.add("Transpose", [c.floats(3, 4)])
    c.add("Transpose", [c.floats(3, 0, 2)])
    c.add("Transpose", [c.floats(2, 3, 4, 5, 2)], perm=[4, 2, 0, 1, 3])
    for shape in [[3, 4], [2, 3, 4], [1, 1], [3, 1], [5, 3, 4]]:
        c.add("Expand", [c.floats(3, 1), np.array(shape)], constants=[1])
        c.add("Expand", [c.ints(0, 9, 3, 1), np.array(shape)])
    c.add("Expand", [c.floats(1, 1), np.array([0, 4])])
    c.add("Tile", [c.floats(2, 3), np.array([2, 3])])
    c.add("Tile", [c.floats(2, 3, 1), np.array([1, 1, 4])], constants=[1])
    c.add("Tile", [c.ints(0, 9, 4), np.array([0])])
    for mode in ["constant", "edge", "reflect"]:
        if o < 11:
            c.add("Pad", [c.floats(3, 4)], pads=[1, 2, 0, 1], mode=mode, value=1.5)
        else:
            c.add("Pad", [c.floats(3, 4), np.array([1, 2, 0, 1]), np.float32(1.5)], mode=mode, constants=[1])
            c.add("Pad", [c.floats(3, 4), np.array([2, 0, 1, 2])], mode=mode)
    if o >= 11:
        c.add("Pad", [c.floats(3, 4), np.array([-1, 0, 1, -2]), np.float32(1.5)])
    if o >= 18:
        c.add("Pad", [c.floats(3, 4, 2), np.array([1, 2]), np.float32(1.5), np.array([1])])
        c.add("Pad", [c.floats(3, 4, 2), np.array([1, 2, 1, 0]), None, np.array([-1, 0])])
    for axes in [[0], [1], [0, 2]]:
        shape = [3, 4, 5]
        for axis in axes:
            shape[axis] = 1
        if o < 13:
            c.add("Squeeze", [c.floats(*shape)], axes=axes)
            c.add("Unsqueeze", [c.floats(3, 4)], axes=axes)
        else:
            c.add("Squeeze", [c.floats(*shape), np.array(axes)], constants=[1])
            c.add("Unsqueeze", [c.floats(3, 4), np.array(axes)])
    c.add("Squeeze", [c.floats(3, 1, 4, 1)])
    c.add("Reshape", [c.floats(3, 4), np.array([2, -1])], constants=[1])
    c.add("Reshape", [c.floats(3, 4), np.array([0, 2, 2])])
    c.add("Reshape", [c.floats(0, 4), np.array([0, 2, 2])])
    if o >= 14:
        c.add("Reshape", [c.floats(0, 4), np.array([3, 0])], allowzero=1)
    for axis in [0, 1, 2, 3] + ([-1] if o >= 11 else []):
        c.add("Flatten", [c.floats(2, 3, 4)], axis=axis)
    c.add("Shape", [c.floats(2, 0, 4)])
    if o >= 15:
        c.add("Shape", [c.floats(2, 5, 4)], start=1)
        c.add("Shape", [c.floats(2, 5, 4)], start=-2, end=-1)
    c.add("Size", [c.floats(2, 5, 4)])
    c.add("ConstantOfShape", [np.array([2, 3])], value=helper.make_tensor("v", TensorProto.INT64, [1], [7]))
    c.add("ConstantOfShape", [np.array([2, 3])], constants=[0])
    c.add("ConstantOfShape", [np.array([], np.int64)])
    for depth_kind in (np.int64, np.float32):
        c.add("OneHot", [c.ints(-5, 5, 2, 3), np.array([5], depth_kind), np.array([0.5, 2.0], np.float32)])
    c.add("OneHot", [c.ints(-7, 7, 2, 3), np.array([5]), np.array([0, 1])], axis=1)
    c.add("OneHot", [c.ints(0, 5, 4), np.array(5), np.array([0, 1])], axis=0, constants=[1, 2])
    if o >= 11:
        c.add("OneHot", [c.ints(0, 5, 2, 3), np.array([5]), np.array([0.5, 2.0], np.float32)], axis=-2)
        for reverse in (0, 1):
            for exclusive in (0, 1):
                c.add("CumSum", [c.floats(3, 5), np.array(1)], reverse=reverse, exclusive=exclusive)
                c.add("CumSum", [c.ints(0, 9, 3, 5), np.array(-2, np.int32)], reverse=reverse, exclusive=exclusive)
    c.add("Dropout", [c.floats(3, 4)])
    if o >= 12:
        c.add("Dropout", [c.floats(3, 4), np.float32(0.3)], outputs=2, constants=[1])
    kinds = [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32, TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL, TensorProto.FLOAT16]
    for to in kinds:
        for value in [c.floats(3, 4, scale=20), c.floats(7, dtype=np.float64, scale=20), c.ints(0, 100, 5), c.booleans(6), c.ints(0, 100, 5, dtype=np.uint8)]:
            if value.dtype.kind == "f" and to == TensorProto.UINT8:
                value = np.abs(value)
            c.add("Cast", [value], to=to)
    if o >= 11:
        c.add("GatherND", [c.floats(3, 4, 5), c.ints(0, 3, 2, 2)])


def reductions(c):
    o = c.opset
    ops = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"]
    for op in ops:
        as_input = o >= 18 or (op == "ReduceSum" and o >= 13)
        choices = [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2]] + ([[-1], [-2, 0]] if o >= 11 else [])
        for axes in choices:
            for keep in (0, 1):
                x = c.floats(3, 4, 5) if op != "ReduceLogSum" else np.abs(c.floats(3, 4, 5)) + 0.1
                if as_input:
                    c.add(op, [x, np.array(axes)], keepdims=keep, constants=[1] if keep else [])
                else:
                    c.add(op, [x], axes=axes, keepdims=keep)
        c.add(op, [np.abs(c.floats(3, 4, 5))])
        c.add(op, [np.abs(c.floats(3, 40))], keepdims=0)
        if as_input:
            c.add(op, [np.abs(c.floats(3, 4)), None], noop_with_empty_axes=1)
            c.add(op, [c.floats(3, 4), np.array([], np.int64)])
        if op not in ("ReduceLogSum", "ReduceLogSumExp"):
            for dtype in (np.int32, np.int64, np.float64):
                x = c.ints(-4, 5, 3, 4, dtype=dtype)
                c.add(op, [x, np.array([1])] if as_input else [x], **({} if as_input else {"axes": [1]}))
        empty = [c.floats(2, 0, 3)]
        if op in ("ReduceSum", "ReduceProd", "ReduceL1", "ReduceSumSquare"):
            c.add(op, empty + [np.array([1])] if as_input else empty, **({} if as_input else {"axes": [1]}))
    for op in ["ArgMax", "ArgMin"]:
        for axis in [0, 1, 2] + ([-1] if o >= 11 else []):
            for keep in (0, 1):
                c.add(op, [c.ints(0, 3, 3, 4, 5, dtype=np.float32)], axis=axis, keepdims=keep)
                if o >= 12:
                    c.add(op, [c.ints(0, 3, 3, 4, 5, dtype=np.float32)], axis=axis, keepdims=keep, select_last_index=1)
        c.add(op, [c.floats(3, 4)])
        c.add(op, [c.ints(0, 9, 3, 4, dtype=np.int32)], axis=1)
    for axis in [0, 1] + ([-1] if o >= 11 else []):
        if o < 10:
            c.add("TopK", [c.floats(6, 7)], outputs=2, k=3, axis=axis)
        else:
            c.add("TopK", [c.floats(6, 7), np.array([3])], outputs=2, axis=axis)
            c.add("TopK", [c.floats(6, 7), np.array([1])], outputs=2, axis=axis, constants=[1])
            if o >= 11:
                c.add("TopK", [c.ints(0, 4, 6, 7), np.array([4])], outputs=2, axis=axis, largest=0, constants=[1])
                c.add("TopK", [c.floats(2, 6, 7), np.array([6])], outputs=2, axis=axis)


def logic(c):
    o = c.opset
    shapes = [((3, 4), (3, 4)), ((2, 3, 5), (5,)), ((4, 1, 3), (1, 7, 1)), ((), (2, 3)), ((0, 3), (3,))]
    for op in ["Equal", "Greater", "Less"] + (["GreaterOrEqual", "LessOrEqual"] if o >= 12 else []):
        for a, b in shapes:
            c.add(op, [c.ints(0, 3, *a, dtype=np.float32), c.ints(0, 3, *b, dtype=np.float32)])
            c.add(op, [c.ints(0, 3, *a), c.ints(0, 3, *b)])
            c.add(op, [c.ints(0, 3, *a, dtype=np.int32), c.ints(0, 3, *b, dtype=np.int32)])
            c.add(op, [c.ints(0, 3, *a, dtype=np.float64), c.ints(0, 3, *b, dtype=np.float64)])
        c.add(op, [np.array([np.nan, 1, np.inf], np.float32), np.array([np.nan, np.nan, np.inf], np.float32)])
    c.add("Equal", [c.booleans(3, 4), c.booleans(4)])
    if o >= 19:
        c.add("Equal", [np.array(["a", "b", "c"], object), np.array(["a", "c", "c"], object)])
        c.add("Equal", [np.array(["a", "b", "c"], object), np.array(["b"], object)], constants=[1])
    for op in ["And", "Or", "Xor"]:
        for a, b in shapes:
            c.add(op, [c.booleans(*a), c.booleans(*b)])
    c.add("Not", [c.booleans(3, 5)])
    for a, b, d in [((3, 4), (3, 4), (3, 4)), ((3, 1), (1, 4), ()), ((4,), (2, 3, 4), (3, 1)), ((0, 2), (2,), (1,))]:
        c.add("Where", [c.booleans(*a), c.floats(*b), c.floats(*d)])
        c.add("Where", [c.booleans(*a), c.ints(-9, 9, *b), c.ints(-9, 9, *d)])
    special = np.array([1, np.nan, np.inf, -np.inf, 0], np.float32)
    c.add("IsNaN", [special])
    if o >= 10:
        c.add("IsInf", [special])
        c.add("IsInf", [special], detect_negative=0)
        c.add("IsInf", [special], detect_positive=0)
        c.add("IsInf", [special.astype(np.float64)])


def quantized(c):
    o = c.opset
    if o < 10:
        return
    for kind, low, high in [(np.uint8, 0, 256), (np.int8, -128, 128)]:
        point = kind(7)
        c.add("QuantizeLinear", [c.floats(5, 6, scale=50), np.float32(0.37), point])
        c.add("QuantizeLinear", [np.array([0.5, 1.5, 2.5, -0.5, -1.5, 300, -300], np.float32), np.float32(1), kind(0)], constants=[1, 2])
        c.add("DequantizeLinear", [c.ints(low, high, 5, 6, dtype=kind), np.float32(0.37), point])
        if o >= 13:
            points = c.ints(low // 2, high // 2, 6, dtype=kind)
            scales = np.abs(c.floats(6)) + 0.1
            c.add("QuantizeLinear", [c.floats(5, 6, scale=50), scales, points], axis=1)
            c.add("QuantizeLinear", [c.floats(6, 5, scale=50), scales, points], axis=-2)
            c.add("DequantizeLinear", [c.ints(low, high, 5, 6, dtype=kind), scales, points], axis=1, constants=[1, 2])
            c.add("DequantizeLinear", [c.ints(low, high, 6, 2, 3, dtype=kind), scales, points], axis=0)
            c.add("DequantizeLinear", [c.ints(low, high, 5, 6, dtype=kind), scales], axis=-1)
        if o >= 21:
            c.add("QuantizeLinear", [c.floats(4, 6, scale=50), np.abs(c.floats(4, 3)) + 0.1, c.ints(0, 9, 4, 3, dtype=kind)], axis=1, block_size=2)
            c.add("DequantizeLinear", [c.ints(low, high, 4, 6, dtype=kind), np.abs(c.floats(2, 6)) + 0.1, c.ints(0, 9, 2, 6, dtype=kind)], axis=0, block_size=2)
    c.add("QuantizeLinear", [c.floats(5, 6, scale=50), np.float32(0.37)])
    c.add("DequantizeLinear", [c.ints(-9999, 9999, 5, 6, dtype=np.int32), np.float32(0.01)])
    for a_kind in (np.uint8, np.int8):
        for b_kind in (np.uint8, np.int8):
            if a_kind == np.int8 and b_kind == np.uint8:
                continue
            range_of = {np.uint8: (0, 256), np.int8: (-128, 128)}
            a = c.ints(*range_of[a_kind], 3, 5, dtype=a_kind)
            b = c.ints(*range_of[b_kind], 5, 7, dtype=b_kind)
            c.add("MatMulInteger", [a, b])
            c.add("MatMulInteger", [a, b, a_kind(3)], constants=[1])
            c.add("MatMulInteger", [a, b, a_kind(3), b_kind(4)], constants=[1, 2, 3])
            c.add("MatMulInteger", [a, b, a_kind(3), c.ints(0, 9, 7, dtype=b_kind)])
            c.add("MatMulInteger", [c.ints(*range_of[a_kind], 2, 3, 5, dtype=a_kind), b, a_kind(3), b_kind(4)])
            y_point = a_kind(5)
            c.add("QLinearMatMul", [a, np.float32(0.02), a_kind(3), b, np.float32(0.03), b_kind(4), np.float32(0.5), y_point], atol=1.0)
            c.add("QLinearMatMul", [a, np.float32(0.02), a_kind(3), b, np.abs(c.floats(7)) + 0.01, c.ints(0, 9, 7, dtype=b_kind), np.float32(0.5), y_point], constants=[3, 4, 5], atol=1.0)
    if o >= 11:
        for x in [c.floats(5, 6), np.abs(c.floats(7)), -np.abs(c.floats(7)), np.zeros(4, np.float32), c.floats(33, scale=1e4)]:
            c.add("DynamicQuantizeLinear", [x], outputs=3)


def machine_learning(c):
    ml = dict(domain="ai.onnx.ml")
    for kind in (np.float32, np.float64, np.int64, np.int32):
        x = c.ints(-9, 9, 4, 3, dtype=kind)
        c.add("Scaler", [x], offset=[0.5, 1.0, -2.0], scale=[2.0, 0.5, 1.0], **ml)
        c.add("ArrayFeatureExtractor", [x, np.array([2, 0, 2, 1])], **ml)
    c.add("Scaler", [c.floats(4, 3)], offset=[0.5], scale=[2.0], **ml)
    c.add("ArrayFeatureExtractor", [c.floats(5), np.array([[3, 1]])], **ml)
    c.add("ArrayFeatureExtractor", [np.array([["a", "b", "c"]], object), np.array([[2]])], **ml)
    for norm in ("MAX", "L1", "L2"):
        c.add("Normalizer", [c.floats(4, 3)], norm=norm, **ml)
        c.add("Normalizer", [np.zeros((2, 3), np.float32)], norm=norm, **ml)
        c.add("Normalizer", [c.floats(5)], norm=norm, **ml)
        c.add("Normalizer", [c.ints(-9, 9, 4, 3)], norm=norm, **ml)
    c.add("Binarizer", [c.floats(4, 3)], threshold=0.3, **ml)
    missing = c.floats(4, 3)
    missing[1, 2] = missing[3, 0] = np.nan
    c.add("Imputer", [missing], imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=float("nan"), **ml)
    c.add("Imputer", [missing], imputed_value_floats=[7.0], replaced_value_float=float("nan"), **ml)
    whole = c.ints(0, 3, 4, 3)
    c.add("Imputer", [whole], imputed_value_int64s=[9, 8, 7], replaced_value_int64=1, **ml)
    c.add("OneHotEncoder", [c.ints(0, 6, 4, 2)], cats_int64s=[1, 3, 4], zeros=1, **ml)
    c.add("OneHotEncoder", [np.array([1, 3, 4, 1])], cats_int64s=[1, 3, 4], zeros=0, **ml)
    c.add("OneHotEncoder", [c.ints(0, 6, 4, 1, dtype=np.float32)], cats_int64s=[1, 3, 4], **ml)
    words = np.array([["x"], ["y"], ["w"], ["z"]], object)
    c.add("OneHotEncoder", [words], cats_strings=["z", "x", "y"], zeros=1, **ml)
    c.add("FeatureVectorizer", [c.floats(4, 2), c.floats(4, 3)], inputdimensions=[2, 3], **ml)
    c.add("FeatureVectorizer", [c.ints(0, 9, 4, 2), c.ints(0, 9, 4, 1)], inputdimensions=[2, 1], **ml)
    if ML_OPSETS[c.opset] < 2:
        c.add("LabelEncoder", [words], classes_strings=["z", "x", "y"], default_int64=-5, **ml)
        c.add("LabelEncoder", [c.ints(0, 5, 6)], classes_strings=["z", "x", "y"], default_string="none", **ml)
    else:
        c.add("LabelEncoder", [words], keys_strings=["z", "x", "y"], values_int64s=[4, 5, 6], default_int64=-5, **ml)
        c.add("LabelEncoder", [c.ints(0, 5, 6)], keys_int64s=[1, 2], values_strings=["z", "x"], default_string="none", **ml)
        c.add("LabelEncoder", [words], keys_strings=["z", "x", "y"], values_floats=[4.0, 5.5, 6.0], default_float=-5.0, **ml)
        c.add("LabelEncoder", [c.ints(0, 5, 6, dtype=np.float32)], keys_floats=[1.0, 2.0], values_floats=[7.0, 0.5], **ml)
        c.add("LabelEncoder", [c.ints(0, 5, 6)], keys_int64s=[1, 2], values_int64s=[7, 3], **ml)
        c.add("LabelEncoder", [words], keys_strings=["z", "x"], values_strings=["a", "b"], default_string="c", **ml)
        c.add("LabelEncoder", [np.array([1, np.nan, 3], np.float32)], keys_floats=[1.0, float("nan")], values_floats=[7.0, 0.5], **ml)
    c.add("CategoryMapper", [words], cats_int64s=[4, 5, 6], cats_strings=["z", "x", "y"], default_int64=-5, **ml)
    c.add("CategoryMapper", [c.ints(3, 8, 5)], cats_int64s=[4, 5, 6], cats_strings=["z", "x", "y"], default_string="none", **ml)
    posts = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]
    for post in posts:
        if post != "PROBIT":
            c.add("LinearClassifier", [c.floats(5, 4)], outputs=2, coefficients=c.floats(12).tolist(), intercepts=c.floats(3).tolist(), classlabels_ints=[4, 5, 6], post_transform=post, **ml)
            c.add("LinearClassifier", [c.floats(5, 4)], outputs=2, coefficients=c.floats(12).tolist(), intercepts=c.floats(3).tolist(), classlabels_strings=["a", "b", "c"], post_transform=post, multi_class=1, **ml)
            c.add("LinearClassifier", [c.floats(5, 4)], outputs=2, coefficients=c.floats(8).tolist(), intercepts=c.floats(2).tolist(), classlabels_ints=[0, 1], post_transform=post, **ml)
        if post in ("NONE",):
            c.add("LinearRegressor", [c.floats(5, 4)], coefficients=c.floats(4).tolist(), intercepts=c.floats(1).tolist(), post_transform=post, **ml)
            c.add("LinearRegressor", [c.floats(5, 4)], coefficients=c.floats(12).tolist(), intercepts=c.floats(3).tolist(), targets=3, post_transform=post, **ml)
            c.add("LinearRegressor", [c.floats(5, 4)], coefficients=c.floats(4).tolist(), post_transform=post, **ml)
    c.add("LinearClassifier", [c.floats(5, 4)], outputs=2, coefficients=c.floats(4).tolist(), intercepts=c.floats(1).tolist(), classlabels_ints=[0, 1], post_transform="LOGISTIC", **ml)
    c.add("LinearClassifier", [c.ints(-4, 4, 5, 4)], outputs=2, coefficients=c.floats(12).tolist(), intercepts=c.floats(3).tolist(), classlabels_ints=[4, 5, 6], **ml)
    for labels in ({"classlabels_int64s": [0, 1, 2]}, {"classlabels_strings": ["a", "b", "c"]}):
        c.add("ZipMap", [c.floats(4, 3)], **labels, **ml)
    for mode in ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]:
        forest = random_forest(c, trees=3, depth=3, features=4, mode=mode)
        for post in posts[:1] + (posts[1:] if mode == "BRANCH_LEQ" else []):
            # The quantile is steep at its ends: single precision there is a matter of luck.
            ml = dict(domain="ai.onnx.ml", rtol=1e-3 if post == "PROBIT" else 1e-5)
            for targets in (1, 3):
                # onnxruntime leaves a single target as it is, whatever the specification says.
                if post not in ("NONE", "PROBIT") and targets == 1:
                    continue
                weights = forest_leaves(c, forest, targets, "target")
                for aggregate in ["SUM", "AVERAGE", "MIN", "MAX"] if post == "NONE" else ["SUM"]:
                    x = c.ints(-3, 3, 7, 4, dtype=np.float32)
                    c.add("TreeEnsembleRegressor", [x], n_targets=targets, aggregate_function=aggregate, post_transform=post, base_values=c.floats(targets).tolist(), **forest, **weights, **ml)
            # Not two classes with sums of their own: onnxruntime answers 0 and 1 there, whatever the labels are.
            for classes in (3, 4):
                weights = forest_leaves(c, forest, classes, "class")
                labels = {"classlabels_int64s": list(range(10, 10 + classes))} if classes == 4 else {"classlabels_strings": list("abc")}
                x = c.ints(-3, 3, 7, 4, dtype=np.float32)
                c.add("TreeEnsembleClassifier", [x], outputs=2, post_transform=post, base_values=c.floats(classes).tolist(), **labels, **forest, **weights, **ml)
            weights = forest_leaves(c, forest, 1, "class")
            x = c.ints(-3, 3, 7, 4, dtype=np.float32)
            # Two classes, one weight for each leaf. Nobody says what PROBIT makes of it.
            if post == "PROBIT":
                continue
            c.add("TreeEnsembleClassifier", [x], outputs=2, post_transform=post, classlabels_int64s=[0, 1], **forest, **weights, **ml)
            positive = dict(weights, class_weights=[abs(w) for w in weights["class_weights"]])
            c.add("TreeEnsembleClassifier", [x], outputs=2, post_transform=post, classlabels_int64s=[0, 1], **forest, **positive, **ml)
            c.add("TreeEnsembleClassifier", [x], outputs=2, post_transform=post, classlabels_strings=["no", "yes"], base_values=[0.25], **forest, **weights, **ml)
    ml = dict(domain="ai.onnx.ml")
    missing = c.floats(6, 4)
    missing[::2, 1] = np.nan
    forest = random_forest(c, trees=3, depth=3, features=4, mode="BRANCH_LEQ", track=True)
    c.add("TreeEnsembleRegressor", [missing], n_targets=1, **forest, **forest_leaves(c, forest, 1, "target"), **ml)
    for kind in (np.int64, np.int32, np.float64):
        c.add("TreeEnsembleRegressor", [c.ints(-3, 3, 7, 4, dtype=kind)], n_targets=1, **forest, **forest_leaves(c, forest, 1, "target"), **ml)


def support_vectors(c):
    """SVMs of every kernel function, with votes, with probabilities, and without vectors."""
    columns = 4
    for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID"):
        degree = [2.0, 3.0, 1.0, 4.0][c.opset % 4] if kernel == "POLY" else 3.0
        for classes in (2, 3, 4):
            per_class = c.ints(1, 12, classes).tolist()
            vectors, pairs = sum(per_class), classes * (classes - 1) // 2
            machine = dict(
                kernel_type=kernel, kernel_params=[0.3, 0.25, degree], vectors_per_class=per_class, support_vectors=c.floats(vectors * columns, scale=1.0).tolist(),
                coefficients=c.floats((classes - 1) * vectors, scale=0.5).tolist(), rho=c.floats(pairs, scale=0.3).tolist(), domain="ai.onnx.ml",
                rtol=1e-4, atol=1e-4 if kernel == "POLY" else 2e-5)
            labels = dict(classlabels_ints=list(range(7, 7 + classes))) if classes != 3 else dict(classlabels_strings=["a", "b", "c"])
            sigmoids = dict(prob_a=(-np.abs(c.floats(pairs))).tolist(), prob_b=c.floats(pairs, scale=0.3).tolist())
            for post in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"):
                c.add("SVMClassifier", [c.floats(9, columns, scale=1.0)], outputs=2, post_transform=post, **labels, **machine)
                c.add("SVMClassifier", [c.floats(9, columns, scale=1.0)], outputs=2, post_transform=post, **labels, **sigmoids, **machine)
            for kind in (np.float64, np.int64, np.int32):
                c.add("SVMClassifier", [c.ints(-3, 3, 5, columns, dtype=kind)], outputs=2, **labels, **sigmoids, **machine)
            c.add("SVMClassifier", [c.floats(columns)], outputs=2, **labels, **machine)
        vectors = int(c.random.integers(1, 40))
        machine = dict(
            kernel_type=kernel, kernel_params=[0.3, 0.25, degree], n_supports=vectors, support_vectors=c.floats(vectors * columns, scale=1.0).tolist(),
            coefficients=c.floats(vectors, scale=0.5).tolist(), rho=c.floats(1, scale=0.3).tolist(), domain="ai.onnx.ml", rtol=1e-4, atol=1e-4 if kernel == "POLY" else 2e-5)
        c.add("SVMRegressor", [c.floats(9, columns, scale=1.0)], **machine)
        c.add("SVMRegressor", [c.floats(columns, scale=1.0)], **machine)
        c.add("SVMRegressor", [c.floats(9, columns, scale=1.0)], one_class=1, **machine)
    # Linear models: no vectors, whatever kernel is named.
    for classes in (2, 3):
        for sign in (False, True):
            weights = c.floats(classes * columns)
            linear = dict(coefficients=(np.abs(weights) if sign else weights).tolist(), rho=c.floats(1).tolist(), kernel_type="RBF", kernel_params=[0.5, 0.0, 3.0], domain="ai.onnx.ml")
            for post in ("NONE", "LOGISTIC", "SOFTMAX"):
                c.add("SVMClassifier", [c.floats(9, columns)], outputs=2, classlabels_ints=list(range(classes)), post_transform=post, **linear)
                c.add("SVMClassifier", [c.floats(9, columns)], outputs=2, classlabels_ints=list(range(classes)), prob_a=[-1.0], prob_b=[0.1], post_transform=post, **linear)
    c.add("SVMRegressor", [c.floats(9, columns)], coefficients=c.floats(columns).tolist(), rho=[0.5], n_supports=0, kernel_params=[0.5, 0.0, 3.0], domain="ai.onnx.ml")


def random_forest(c, trees, depth, features, mode, track=False):
    """Complete trees; the nodes of a level stand together, as attributes have them."""
    f = {name: [] for name in ["treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids", "missing_value_tracks_true"]}
    for tree in range(trees):
        inner = 2**depth - 1
        for node in range(2 ** (depth + 1) - 1):
            f["treeids"].append(tree)
            f["nodeids"].append(node)
            f["featureids"].append(int(c.random.integers(features)) if node < inner else 0)
            f["values"].append(float(c.random.integers(-2, 2)) if node < inner else 0.0)
            f["modes"].append(mode if node < inner else "LEAF")
            f["truenodeids"].append(2 * node + 1 if node < inner else 0)
            f["falsenodeids"].append(2 * node + 2 if node < inner else 0)
            f["missing_value_tracks_true"].append(int(c.random.integers(2)) if track and node < inner else 0)
    if not track:
        del f["missing_value_tracks_true"]
    return {f"nodes_{name}": values for name, values in f.items()}


def forest_leaves(c, forest, outputs, prefix):
    leaves = [(t, n) for t, n, m in zip(forest["nodes_treeids"], forest["nodes_nodeids"], forest["nodes_modes"]) if m == "LEAF"]
    entries = [(t, n, o) for t, n in leaves for o in range(outputs) if t == 0 or outputs == 1 or c.random.random() < 0.8 or o == 0]
    return {
        f"{prefix}_treeids": [t for t, _, _ in entries],
        f"{prefix}_nodeids": [n for _, n, _ in entries],
        f"{prefix}_ids": [o for _, _, o in entries],
        f"{prefix}_weights": c.floats(len(entries), scale=1.0).tolist(),
    }


def main():
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    cases = Cases(sys.argv[1], seed)
    for opset in OPSETS:
        cases.opset = opset
        for family in (arithmetic, matrices, movement, reductions, logic, quantized, machine_learning, support_vectors):
            family(cases)
    cases.writer.close()
    refused = {op: len(which) for op, which in cases.refused.items()}
    print(f"{cases.writer.count} cases at opsets {OPSETS}, seed {seed}; onnxruntime {onnxruntime.__version__} refuses {sum(refused.values())}: {refused}")
    if "-v" in sys.argv:
        for which in cases.refused.values():
            for name, why in which[:3]:
                print("  ", name, why)


main()
