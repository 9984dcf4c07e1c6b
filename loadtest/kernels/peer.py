"""One peer of the kernel benchmarks: a process that measures what it is asked for, a line of JSON for each line of JSON.

    peer.py PEER FOLDER     then on stdin: {"batch": 16, "chunk": 16, "seconds": 0.2}
                            answers:       {"ns_per_row": 1234.5, "rows": 100, "scores": [the first 16]}

One thread. Rows rotate through all of the input, so that no peer (and no branch predictor) sees a batch twice in a row. What calling the
library from Python costs by itself is measured with a model that does nothing, and taken off: the figure is the library's, not Python's.
"""
import ctypes
import json
import os
import subprocess
import sys
import time

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TREELITE_NUM_THREADS"):
    os.environ[name] = "1"
import numpy as np  # noqa: E402


class Peer:
    """`prepare(batch)` gives a function of the batch's number that scores it and returns the scores; `overhead(batch)` one that does all but
    the work, or None."""

    rows = 0

    def overhead(self, batch):
        return None


def batches(x, batch):
    return [np.ascontiguousarray(x[i:i + batch]) for i in range(0, len(x) - batch + 1, batch)]


class ONNXRuntime(Peer):
    def __init__(self, folder, model, data):
        import onnxruntime

        self.runtime = onnxruntime
        self.x = np.load(f"{folder}/{data}")
        self.folder = folder
        if model == "mlp.int8.onnx":
            from onnxruntime.quantization import QuantType, quantize_dynamic

            quantize_dynamic(f"{folder}/mlp.onnx", f"{folder}/{model}", weight_type=QuantType.QInt8)
        if model == "forest.onnx":
            import lightgbm
            import onnxmltools
            from onnxmltools.convert.common.data_types import FloatTensorType

            booster = lightgbm.Booster(model_file=f"{folder}/forest.txt")
            converted = onnxmltools.convert_lightgbm(booster, initial_types=[("input", FloatTensorType([None, 28]))], zipmap=False)
            open(f"{folder}/{model}", "wb").write(converted.SerializeToString())
        self.session = self.open(f"{folder}/{model}")
        self.outputs = [self.session.get_outputs()[-1].name]

    def open(self, model):
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        return self.runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def prepare(self, batch):
        pieces = batches(self.x, batch)
        run, outputs = self.session.run, self.outputs
        name = self.session.get_inputs()[0].name
        feeds = [{name: piece} for piece in pieces]
        return lambda i: run(outputs, feeds[i % len(feeds)])[0][:, -1]

    def overhead(self, batch):
        from onnx import TensorProto, helper

        width = self.x.shape[1]
        node = helper.make_node("Slice", ["input", "start", "end", "axis"], ["output"])
        integers = [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in (("start", 0), ("end", 1), ("axis", 1))]
        graph = helper.make_graph(
            [node], "nothing", [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", width])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["rows", 1])], integers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        session = self.open(model.SerializeToString())
        run = session.run
        feeds = [{"input": piece} for piece in batches(self.x, batch)]
        return lambda i: run(["output"], feeds[i % len(feeds)])[0][:, -1]


class Torch(Peer):
    """The MLP; traced and frozen, which is faster than calling its modules."""

    def __init__(self, folder, precision):
        import onnx
        import torch
        from onnx import numpy_helper

        torch.set_num_threads(1)
        self.torch = torch
        weights = {i.name: torch.tensor(numpy_helper.to_array(i)) for i in onnx.load(f"{folder}/mlp.onnx").graph.initializer}
        layers = []
        for layer in range(3):
            linear = torch.nn.Linear(*reversed(weights[f"w{layer}"].shape))
            linear.weight.data, linear.bias.data = weights[f"w{layer}"], weights[f"b{layer}"]
            layers += [linear] + ([torch.nn.ReLU()] if layer < 2 else [])
        self.model = torch.nn.Sequential(*layers).eval()
        self.x = torch.tensor(np.load(f"{folder}/mlp.npy"))
        if precision == "bf16":
            self.model, self.x = self.model.bfloat16(), self.x.bfloat16()
        if precision == "int8":
            torch.backends.quantized.engine = "x86"
            self.model = torch.ao.quantization.quantize_dynamic(self.model, {torch.nn.Linear}, dtype=torch.qint8)

    def split(self, batch):
        return [piece.contiguous() for piece in self.x.split(batch) if len(piece) == batch]

    def prepare(self, batch):
        torch = self.torch
        pieces = self.split(batch)
        best = self.model
        with torch.inference_mode():
            try:
                best = torch.jit.freeze(torch.jit.trace(self.model, pieces[0]))
                for piece in pieces[:3]:
                    best(piece)
            except Exception as problem:
                print(f"not traced: {problem}", file=sys.stderr)

        def step(i):
            with torch.inference_mode():
                return best(pieces[i % len(pieces)])[:, 0].float().numpy()

        return step

    def overhead(self, batch):
        torch = self.torch
        pieces = self.split(batch)

        def step(i):
            with torch.inference_mode():
                return pieces[i % len(pieces)][:, 0].float().numpy()

        return step


class LightGBM(Peer):
    """By its C interface: for one row the fast one, that keeps its settings."""

    def __init__(self, folder):
        import lightgbm

        self.library = ctypes.CDLL(lightgbm.basic._LIB._name)
        self.booster = lightgbm.Booster(model_file=f"{folder}/forest.txt")
        self.handle = self.booster._handle
        self.x = np.load(f"{folder}/forest.npy")

    def prepare(self, batch):
        pieces = batches(self.x, batch)
        result = np.zeros(batch)
        length = ctypes.c_int64()
        out = result.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        parameters = ctypes.c_char_p(b"num_threads=1")
        if batch == 1:
            fast = ctypes.c_void_p()
            call = self.library.LGBM_BoosterPredictForMatSingleRowFastInit
            assert call(self.handle, 0, 0, -1, 0, 28, parameters, ctypes.byref(fast)) == 0
            predict = self.library.LGBM_BoosterPredictForMatSingleRowFast
            pointers = [ctypes.c_void_p(piece.ctypes.data) for piece in pieces]
            length_pointer = ctypes.byref(length)

            def step(i):
                predict(fast, pointers[i % len(pointers)], length_pointer, out)
                return result
        else:
            predict = self.library.LGBM_BoosterPredictForMat
            pointers = [ctypes.c_void_p(piece.ctypes.data) for piece in pieces]

            def step(i):
                predict(self.handle, pointers[i % len(pointers)], 0, batch, 28, 1, 0, 0, -1, parameters, ctypes.byref(length), out)
                return result
        return step

    def overhead(self, batch):
        nothing = self.library.LGBM_GetLastError
        pointer = ctypes.c_void_p(0)
        result = np.zeros(batch)
        pointers = [pointer] * 100

        def step(i):
            nothing(pointer, pointers[i % len(pointers)], pointer, pointer)
            return result

        return step


class XGBoost(Peer):
    def __init__(self, folder):
        import xgboost

        self.xgboost = xgboost
        self.booster = xgboost.Booster({"nthread": 1}, model_file=f"{folder}/forest.xgb.json")
        self.booster.set_param({"nthread": 1})
        self.x = np.load(f"{folder}/forest.npy")

    def prepare(self, batch):
        from xgboost.core import _LIB

        pieces = batches(self.x, batch)
        interfaces = [
            json.dumps({"data": [piece.ctypes.data, True], "shape": list(piece.shape), "typestr": "<f4", "version": 3}).encode()
            for piece in pieces
        ]
        config = json.dumps({"type": 0, "training": False, "iteration_begin": 0, "iteration_end": 0, "strict_shape": False,
                             "missing": float("nan"), "cache_id": 0}).encode()
        shape = ctypes.POINTER(ctypes.c_uint64)()
        dims = ctypes.c_uint64()
        result = ctypes.POINTER(ctypes.c_float)()
        predict = _LIB.XGBoosterPredictFromDense

        def step(i):
            status = predict(
                self.booster.handle, interfaces[i % len(interfaces)], config, None, ctypes.byref(shape), ctypes.byref(dims),
                ctypes.byref(result))
            assert status == 0
            return np.ctypeslib.as_array(result, (batch,))

        step.keep = pieces
        return step


class Treelite(Peer):
    """The forest as C, compiled, and called row by row from a loop in C: nothing of Python is in the figure."""

    LOOP = """
    typedef union { int missing; double value; int code; } entry;
    typedef void (*predict_function)(entry *, int, double *);
    void score(predict_function predict, double *rows, long count, long features, double *out) {
      for (long r = 0; r < count; r++) { out[r] = 0; predict((entry *)(rows + r * features), 0, out + r); }
    }"""

    def __init__(self, folder):
        import tl2cgen
        import treelite

        library = f"{folder}/forest.treelite.so"
        if not os.path.exists(library):
            model = treelite.frontend.load_lightgbm_model(f"{folder}/forest.txt")
            sources = f"{folder}/treelite"
            tl2cgen.generate_c_code(model, dirpath=sources, params={"parallel_comp": 16})
            files = [f"{sources}/{name}" for name in os.listdir(sources) if name.endswith(".c")]
            subprocess.run(["gcc", "-O3", "-march=native", "-fPIC", "-shared", "-o", library, *files, "-lm"], check=True)
        loop = f"{folder}/treelite_loop.so"
        subprocess.run(["gcc", "-O3", "-fPIC", "-shared", "-x", "c", "-o", loop, "-"], input=self.LOOP.encode(), check=True)
        self.predict = ctypes.cast(ctypes.CDLL(library).predict, ctypes.c_void_p)
        self.score = ctypes.CDLL(loop).score
        self.x = np.load(f"{folder}/forest.npy").astype(np.float64)  # As the code for LightGBM's thresholds reads them.

    def prepare(self, batch):
        # Without Python, calls for one row at a time and for many are the same loop.
        result = np.zeros(len(self.x))
        arguments = (self.predict, ctypes.c_void_p(self.x.ctypes.data), ctypes.c_long(len(self.x)), ctypes.c_long(28),
                     ctypes.c_void_p(result.ctypes.data))

        def step(i):
            self.score(*arguments)
            return result

        step.rows = len(self.x)
        return step


class TorchEmbedding(Peer):
    ROWS, WIDTH, LOOKUPS = 4_000_000, 32, 26

    def __init__(self, folder, precision):
        import torch

        torch.set_num_threads(1)
        self.torch = torch
        small = os.path.exists(f"{folder}/small")
        self.count = 10_000 if small else self.ROWS
        table = torch.empty(self.count, self.WIDTH)
        table.uniform_(-0.1, 0.1)
        self.table = table
        if precision == "int8":
            self.table = torch.ops.quantized.embedding_bag_byte_prepack(table)
        self.precision = precision

    def prepare(self, batch):
        torch = self.torch
        generator = torch.Generator().manual_seed(3)
        ids = [torch.randint(0, self.count, (batch * self.LOOKUPS,), generator=generator) for _ in range(max(2, 200_000 // batch // 4))]
        offsets = torch.arange(0, batch * self.LOOKUPS + 1, self.LOOKUPS)

        def fp32(i):
            with torch.inference_mode():
                return torch.nn.functional.embedding_bag(
                    ids[i % len(ids)], self.table, offsets, mode="sum", include_last_offset=True)

        def int8(i):
            with torch.inference_mode():
                return torch.ops.quantized.embedding_bag_byte_rowwise_offsets(
                    self.table, ids[i % len(ids)], offsets, include_last_offset=True)

        return fp32 if self.precision == "fp32" else int8


class TorchDLRM(Peer):
    """One large table for all features (faster here than a table each), bmm for the dots, traced and frozen; int8: quantized towers and rows."""

    def __init__(self, folder, precision):
        import torch
        from safetensors.torch import load_file

        torch.set_num_threads(1)
        self.torch = torch
        settings = json.load(open(f"{folder}/dlrm.json"))
        tensors = load_file(f"{folder}/dlrm.safetensors")
        tables, rows, width = settings["tables"], settings["rows"], settings["width"]

        def tower(name):
            layers, count = [], sum(1 for key in tensors if key.startswith(name + ".") and key.endswith("weight"))
            for layer in range(count):
                weight = tensors[f"{name}.{layer}.weight"]
                linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
                linear.weight.data, linear.bias.data = weight, tensors[f"{name}.{layer}.bias"]
                layers.append(linear)
                if layer < count - 1 or name == "bottom":
                    layers.append(torch.nn.ReLU())
            return torch.nn.Sequential(*layers)

        class Model(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.bottom, self.top = tower("bottom"), tower("top")
                self.table = torch.nn.Parameter(torch.cat([tensors[f"embeddings.c{t}.weight"] for t in range(tables)]), False)
                lower = torch.tril_indices(tables + 1, tables + 1, -1)
                self.register_buffer("flat", lower[0] * (tables + 1) + lower[1])

            def forward(self, numbers, ids):
                dense = self.bottom(numbers)
                vectors = torch.cat([dense.unsqueeze(1), torch.nn.functional.embedding(ids, self.table)], 1)
                dots = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1).index_select(1, self.flat)
                return torch.sigmoid(self.top(torch.cat([dense, dots], 1)))

        self.model = Model().eval()
        if precision == "int8":
            torch.backends.quantized.engine = "x86"
            self.model = torch.ao.quantization.quantize_dynamic(self.model, {torch.nn.Linear}, dtype=torch.qint8)
        self.numbers = torch.tensor(np.load(f"{folder}/dlrm.numbers.npy"))
        path = f"{folder}/dlrm.rows.npy"  # The rows that the ids are hashed to, when they are known.
        ids = np.load(path) if os.path.exists(path) else np.load(f"{folder}/dlrm.ids.npy") % rows
        self.ids = torch.tensor(ids) + torch.arange(tables) * rows

    def prepare(self, batch):
        torch = self.torch
        pieces = [(self.numbers[i:i + batch], self.ids[i:i + batch]) for i in range(0, len(self.ids) - batch + 1, batch)]
        with torch.inference_mode():
            best = torch.jit.freeze(torch.jit.trace(self.model, pieces[0]))
            for piece in pieces[:3]:
                best(*piece)

        def step(i):
            with torch.inference_mode():
                return best(*pieces[i % len(pieces)])[:, 0].numpy()

        return step


PEERS = {
    "ONNX Runtime fp32": lambda folder: ONNXRuntime(folder, "mlp.onnx", "mlp.npy"),
    "ONNX Runtime int8": lambda folder: ONNXRuntime(folder, "mlp.int8.onnx", "mlp.npy"),
    "PyTorch fp32": lambda folder: Torch(folder, "fp32"),
    "PyTorch bf16": lambda folder: Torch(folder, "bf16"),
    "PyTorch int8": lambda folder: Torch(folder, "int8"),
    "ONNX Runtime": lambda folder: ONNXRuntime(folder, "forest.onnx", "forest.npy"),
    "LightGBM": LightGBM,
    "XGBoost": XGBoost,
    "Treelite": Treelite,
    "PyTorch embedding_bag": lambda folder: TorchEmbedding(folder, "fp32"),
    "PyTorch embedding_bag_byte": lambda folder: TorchEmbedding(folder, "int8"),
    "PyTorch DLRM": lambda folder: TorchDLRM(folder, "fp32"),
    "PyTorch DLRM int8": lambda folder: TorchDLRM(folder, "int8"),
}


def measure(step, seconds, rows):
    step(0), step(1)
    done, began = 0, time.perf_counter_ns()
    while True:
        for _ in range(4 if rows >= 64 else 32):
            step(done)
            done += 1
        passed = time.perf_counter_ns() - began
        if passed > seconds * 1e9:
            return passed / done


def main():
    # What libraries print, and the compilers that they start, goes where errors go: standard output is for answers alone.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = PEERS[sys.argv[1]](sys.argv[2])
    prepared = {}
    print(json.dumps({"ready": sys.argv[1]}), flush=True, file=answers)
    for line in sys.stdin:
        asked = json.loads(line)
        batch, seconds = asked["batch"], asked["seconds"]
        if batch not in prepared:
            step = peer.prepare(batch)
            empty = peer.overhead(batch)
            cost = min(measure(empty, 0.05, batch) for _ in range(3)) if empty else 0
            prepared[batch] = (step, cost)
        step, cost = prepared[batch]
        rows = getattr(step, "rows", batch)
        taken = max(0, measure(step, seconds, rows) - cost)
        scores = [float(value) for value in np.asarray(step(0)).reshape(-1)[:16]]
        print(json.dumps({"ns_per_row": taken / rows, "call_overhead_ns": cost, "scores": scores}), flush=True, file=answers)


if __name__ == "__main__":
    main()
