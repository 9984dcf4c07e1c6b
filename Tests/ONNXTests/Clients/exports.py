"""PyTorch's and Keras' exports, with inputs and what the models answer: exports.py FOLDER

Writes pytorch.cases and keras.cases, which are committed: neither package is installed for the tests. Needs torch, keras 3, onnx and
onnxscript. Models are small, so that the files are: what matters is how they are written down.
"""

import os
import sys
import tempfile
import warnings

os.environ["KERAS_BACKEND"] = "torch"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
warnings.filterwarnings("ignore")

import keras
import numpy as np
import onnx
import torch
from torch import nn

from cases import CaseWriter

ROWS = 5


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.one = nn.Linear(width, 2 * width)
        self.two = nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.two(torch.nn.functional.gelu(self.one(self.norm(x))))


class EmbeddingMLP(nn.Module):
    """Categories of three columns and numbers."""

    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(count, 4) for count in (7, 11, 5)])
        self.top = nn.Sequential(nn.Linear(12 + 3, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, ids, numbers):
        parts = [table(ids[:, i]) for i, table in enumerate(self.tables)]
        return torch.sigmoid(self.top(torch.cat(parts + [numbers], dim=1)))


class DLRM(nn.Module):
    """Dot interaction of embeddings and a bottom MLP."""

    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(count, 8) for count in (9, 13, 6, 4)])
        self.bottom = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
        self.top = nn.Sequential(nn.Linear(8 + 10, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())
        rows, columns = torch.tril_indices(5, 5, offset=-1)
        self.register_buffer("places", rows * 5 + columns)

    def forward(self, ids, numbers):
        dense = self.bottom(numbers)
        vectors = torch.stack([dense] + [table(ids[:, i]) for i, table in enumerate(self.tables)], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))
        flat = products.reshape(-1, 25)[:, self.places]
        return self.top(torch.cat([dense, flat], dim=1))


class WideAndDeep(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide = nn.Embedding(50, 1)
        self.deep = nn.Embedding(50, 6)
        self.top = nn.Sequential(nn.Linear(4 * 6 + 2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))

    def forward(self, ids, numbers):
        wide = self.wide(ids).sum(dim=1)
        deep = self.deep(ids).flatten(1)
        return torch.sigmoid(wide + self.top(torch.cat([deep, numbers], 1)))


class FactorizationMachine(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Embedding(40, 1)
        self.factors = nn.Embedding(40, 5)
        self.bias = nn.Parameter(torch.tensor(0.1))

    def forward(self, ids):
        v = self.factors(ids)
        pairs = 0.5 * (v.sum(1).pow(2) - v.pow(2).sum(1)).sum(1, keepdim=True)
        return torch.sigmoid(self.bias + self.weights(ids).sum(1) + pairs)


class TabTransformer(nn.Module):
    """One block of attention over the columns' embeddings, written out."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 8)
        self.q, self.k, self.v, self.o = (nn.Linear(8, 8) for _ in range(4))
        self.norm = nn.LayerNorm(8)
        self.feed = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.top = nn.Linear(4 * 8 + 2, 3)

    def forward(self, ids, numbers):
        x = self.embed(ids)
        split = lambda y: y.reshape(-1, 4, 2, 4).transpose(1, 2)
        q, k, v = split(self.q(x)), split(self.k(x)), split(self.v(x))
        weights = torch.softmax(q @ k.transpose(-1, -2) / 2.0, dim=-1)
        x = x + self.o((weights @ v).transpose(1, 2).reshape(-1, 4, 8))
        x = x + self.feed(self.norm(x))
        return torch.log_softmax(self.top(torch.cat([x.flatten(1), numbers], 1)), dim=1)


class DeepAndCross(nn.Module):
    def __init__(self):
        super().__init__()
        self.cross = nn.ModuleList([nn.Linear(8, 8) for _ in range(2)])
        self.deep = nn.Sequential(nn.Linear(8, 12), nn.SiLU(), nn.Linear(12, 4), nn.Softplus())
        self.top = nn.Linear(12, 2)

    def forward(self, x):
        y = x
        for layer in self.cross:
            y = x * layer(y) + y
        return torch.softmax(self.top(torch.cat([y, self.deep(x)], -1)), -1)


class TwoTowers(nn.Module):
    """Cosine of two normalized towers, with averages over the items seen."""

    def __init__(self):
        super().__init__()
        self.items = nn.Embedding(25, 6, padding_idx=0)
        self.user = nn.Sequential(nn.Linear(6 + 3, 8), nn.Tanh(), nn.Linear(8, 6))
        self.item = nn.Sequential(nn.Linear(6, 6), nn.LeakyReLU(0.1))

    def forward(self, history, numbers, candidate):
        mask = (history > 0).float().unsqueeze(-1)
        seen = (self.items(history) * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        user = torch.nn.functional.normalize(self.user(torch.cat([seen, numbers], 1)), dim=1)
        item = torch.nn.functional.normalize(self.item(self.items(candidate)), dim=1)
        return (user * item).sum(1)


class Mixture(nn.Module):
    """Experts and a gate, with a choice of the strongest."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(6, 8), nn.ELU(), nn.Linear(8, 2)) for _ in range(3)])
        self.gate = nn.Linear(6, 3)

    def forward(self, x):
        weights = torch.softmax(self.gate(x), dim=1)
        answers = torch.stack([expert(x) for expert in self.experts], dim=1)
        top, places = torch.topk(weights, 2, dim=1)
        chosen = torch.gather(answers, 1, places.unsqueeze(-1).expand(-1, -1, 2))
        best = torch.argmax(weights, dim=1)
        return (answers * weights.unsqueeze(-1)).sum(1), (chosen * top.unsqueeze(-1)).mean(1), best


class Hand(nn.Module):
    """Arithmetic with conditions, as people prepare features."""

    def forward(self, x):
        a, b = x[:, :3], x[:, 3:]
        logs = torch.log1p(a.abs())
        steps = torch.where(b > 0.5, b.clamp(min=0).sqrt(), torch.zeros_like(b))
        flags = ((a > 0) & (b < 0)) | torch.isnan(a)
        return torch.cat([logs, steps, flags.to(torch.float32), x.max(dim=1, keepdim=True).values, x.mean(1, keepdim=True)], 1)


def torch_models():
    f = lambda width: torch.randn(ROWS, width)
    ids = lambda counts: torch.stack([torch.randint(0, count, (ROWS,)) for count in counts], 1)
    mlp = nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.SELU(), nn.Linear(8, 1), nn.Sigmoid())
    yield "MLP, batch norm, dropout", mlp, (f(6),)
    yield "MLP, GELU, layer norm", nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 3), nn.LogSoftmax(dim=-1)), (f(6),)
    yield "MLP, tanh GELU, hard activations", nn.Sequential(nn.Linear(6, 8), nn.GELU("tanh"), nn.Linear(8, 8), nn.Hardswish(), nn.Linear(8, 8), nn.PReLU(), nn.Linear(8, 2)), (f(6),)
    yield "residual blocks", nn.Sequential(nn.Linear(5, 8), Residual(8), Residual(8), nn.LayerNorm(8), nn.Linear(8, 2)), (f(5),)
    yield "embeddings + MLP", EmbeddingMLP(), (ids((7, 11, 5)), f(3))
    yield "DLRM", DLRM(), (ids((9, 13, 6, 4)), f(5))
    yield "wide and deep", WideAndDeep(), (ids((50, 50, 50, 50)), f(2))
    yield "factorization machine", FactorizationMachine(), (ids((40,) * 6),)
    yield "attention over columns", TabTransformer(), (ids((30,) * 4), f(2))
    yield "deep and cross", DeepAndCross(), (f(8),)
    yield "two towers", TwoTowers(), (ids((25,) * 5), f(3), torch.randint(1, 25, (ROWS,)))
    yield "mixture of experts", Mixture(), (f(6),)
    yield "feature arithmetic", Hand(), (f(6),)


def give_statistics(model):
    """Batch norms whose statistics are not 0 and 1."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.normal_(1, 0.2)
            module.bias.data.normal_()


def pytorch(path):
    writer = CaseWriter(path)
    refused = []
    for name, model, inputs in torch_models():
        torch.manual_seed(7)
        give_statistics(model)
        model = model.eval()
        with torch.no_grad():
            answers = model(*inputs)
        answers = answers if isinstance(answers, tuple) else (answers,)
        names = [f"x{i}" for i in range(len(inputs))]
        results = [f"y{i}" for i in range(len(answers))]
        for how in ["script 13", "script 17", "dynamo 18", "dynamo 21"]:
            kind, opset = how.split()
            # Both exporters in two opsets for some models only: the files are committed.
            if how in ("script 17", "dynamo 21") and name not in ("DLRM", "attention over columns", "residual blocks", "MLP, GELU, layer norm"):
                continue
            try:
                with tempfile.TemporaryDirectory() as folder:
                    file = os.path.join(folder, "model.onnx")
                    if kind == "script":
                        torch.onnx.export(
                            model, inputs, file, input_names=names, output_names=results, opset_version=int(opset), dynamo=False,
                            dynamic_axes={n: {0: "rows"} for n in names + results})
                    else:
                        rows = torch.export.Dim("rows", min=1, max=1 << 20)
                        torch.onnx.export(
                            model, inputs, file, input_names=names, output_names=results, opset_version=int(opset), dynamo=True, external_data=False,
                            dynamic_shapes=[{0: rows} for _ in names] if not isinstance(model, nn.Sequential) else ({0: rows},), verbose=False)
                    exported = onnx.load(file)
            except Exception as error:  # noqa: BLE001
                refused.append((name, how, str(error).splitlines()[0][:200]))
                continue
            add(writer, f"{name}, {how}", "PyTorch", exported, zip(names, inputs), zip(results, answers))
    writer.close()
    print(f"{writer.count} exports of PyTorch {torch.__version__}, {os.path.getsize(path)} bytes; refused: {refused}")


def slim(model):
    """Without what only people read: traces of Python, and metadata of each node."""
    for node in model.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    for value in list(model.graph.value_info) + list(model.graph.input) + list(model.graph.output):
        value.ClearField("doc_string")
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        tensor.ClearField("doc_string")
        del tensor.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    return model


def add(writer, name, group, model, inputs, outputs):
    array = lambda value: value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    writer.add(name, group, slim(model), [(n, array(v)) for n, v in inputs], [(n, array(v)) for n, v in outputs])


def keras_models():
    k, layers = keras, keras.layers
    r = np.random.default_rng(3)
    f = lambda *shape: r.standard_normal(shape).astype(np.float32)

    def build(inputs, output):
        return k.Model(inputs, output)

    x = k.Input((6,))
    yield "dense", build(x, layers.Dense(1, activation="sigmoid")(layers.Dense(12, activation="relu")(x))), [f(ROWS, 6)]
    x = k.Input((6,))
    y = layers.Dropout(0.2)(layers.BatchNormalization()(layers.Dense(12, activation="elu")(x)))
    yield "batch normalization", build(x, layers.Dense(3, activation="softmax")(y)), [f(ROWS, 6)]
    x = k.Input((6,))
    y = layers.UnitNormalization()(layers.Dense(12, activation="gelu")(x))
    yield "unit normalization, gelu", build(x, layers.Dense(2)(y)), [f(ROWS, 6)]
    x = k.Input((8,))
    y = layers.Dense(8, activation="selu")(x)
    y = layers.Add()([x, layers.Dense(8, activation="tanh")(y)])
    yield "residual", build(x, layers.Dense(1)(y)), [f(ROWS, 8)]
    ids, numbers = k.Input((3,), dtype="int32"), k.Input((2,))
    y = layers.Concatenate()([layers.Flatten()(layers.Embedding(20, 4)(ids)), numbers])
    yield "embedding + dense", build([ids, numbers], layers.Dense(1, activation="sigmoid")(layers.Dense(8, activation="relu")(y))), [r.integers(0, 20, (ROWS, 3)).astype(np.int32), f(ROWS, 2)]
    ids, numbers = k.Input((4,), dtype="int32"), k.Input((3,))
    bottom = layers.Reshape((1, 6))(layers.Dense(6, activation="relu")(numbers))
    vectors = layers.Concatenate(axis=1)([bottom, layers.Embedding(30, 6)(ids)])
    products = layers.Dot(axes=2)([vectors, vectors])
    y = layers.Dense(8, activation="relu")(layers.Flatten()(products))
    yield "DLRM", build([ids, numbers], layers.Dense(1, activation="sigmoid")(y)), [r.integers(0, 30, (ROWS, 4)).astype(np.int32), f(ROWS, 3)]
    ids, numbers = k.Input((4,), dtype="int32"), k.Input((3,))
    wide = layers.Lambda(lambda t: t.sum(axis=1) if hasattr(t, "sum") else k.ops.sum(t, axis=1), output_shape=(1,))(layers.Embedding(30, 1)(ids))
    deep = layers.Dense(1)(layers.Dense(8, activation="swish")(layers.Concatenate()([layers.GlobalAveragePooling1D()(layers.Embedding(30, 5)(ids)), numbers])))
    yield "wide and deep", build([ids, numbers], layers.Activation("sigmoid")(layers.Add()([wide, deep]))), [r.integers(0, 30, (ROWS, 4)).astype(np.int32), f(ROWS, 3)]
    x = k.Input((6,))
    y = layers.Dense(10, activation="leaky_relu")(layers.Normalization(mean=[0.1] * 6, variance=[2.0] * 6)(x))
    yield "normalization, leaky relu, softplus", build(x, layers.Dense(2, activation="softplus")(y)), [f(ROWS, 6)]
    x = k.Input((6,))
    gate = layers.Dense(3, activation="softmax")(x)
    experts = [layers.Dense(2, activation="relu")(x) for _ in range(3)]
    stacked = layers.Concatenate(axis=1)([layers.Reshape((1, 2))(e) for e in experts])
    y = layers.Dot(axes=1)([layers.Reshape((3, 1))(gate), stacked])
    yield "mixture of experts", build(x, layers.Flatten()(y)), [f(ROWS, 6)]
    x = k.Input((5,))
    y = layers.Multiply()([x, layers.Dense(5)(x)])
    y = layers.Maximum()([y, layers.Subtract()([x, y])])
    yield "cross, maximum, two outputs", build(x, [layers.Dense(1, activation="sigmoid")(y), layers.Dense(3, activation="softmax")(y)]), [f(ROWS, 5)]
    ids = k.Input((4,), dtype="int32")
    v = layers.Embedding(25, 8)(ids)
    weights = layers.Softmax()(layers.Dot(axes=2)([layers.Dense(8)(v), layers.Dense(8)(v)]))
    y = layers.Add()([v, layers.Dot(axes=(2, 1))([weights, layers.Dense(8)(v)])])
    yield "attention written out", build(ids, layers.Dense(2, activation="softmax")(layers.GlobalMaxPooling1D()(y))), [r.integers(0, 25, (ROWS, 4)).astype(np.int32)]
    left, right = k.Input((5,)), k.Input((4,))
    tower = lambda t: layers.Dense(6, activation="tanh")(layers.Dense(8, activation="relu")(t))
    yield "two towers", build([left, right], layers.Dot(axes=1, normalize=True)([tower(left), tower(right)])), [f(ROWS, 5), f(ROWS, 4)]


def keras_exports(path):
    writer = CaseWriter(path)
    refused = []
    for name, model, inputs in keras_models():
        answers = model.predict_on_batch(inputs if len(inputs) > 1 else inputs[0])
        answers = answers if isinstance(answers, (list, tuple)) else [answers]
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = os.path.join(folder, "model.onnx")
                model.export(file, format="onnx", verbose=False)
                exported = onnx.load(file)
        except Exception as error:  # noqa: BLE001
            refused.append((name, (str(error).splitlines() or [repr(error)])[0][:200]))
            continue
        names = [value.name for value in exported.graph.input]
        results = [value.name for value in exported.graph.output]
        add(writer, name, "Keras", exported, zip(names, inputs), zip(results, answers))
    writer.close()
    print(f"{writer.count} exports of Keras {keras.__version__}, {os.path.getsize(path)} bytes; refused: {refused}")


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "exports")
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(5)
    torch.set_num_threads(1)
    keras.utils.set_random_seed(5)
    pytorch(os.path.join(folder, "pytorch.cases"))
    keras_exports(os.path.join(folder, "keras.cases"))
