"""The models and inputs of the kernel benchmarks, made once into a folder: MLP, forest, DLRM. Seeded; nothing is fetched.

    models.py FOLDER [--small]

Every file is what users would have: ONNX, a LightGBM text model, an XGBoost JSON model, safetensors. `--small` makes sizes for a test.
"""
import argparse
import json
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "models"))
import hashing  # noqa: E402

SEED = 20240229


def mlp(folder, small):
    """512-512-256-1 with ReLU, as ONNX; rows of unit normals."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(SEED)
    sizes = [512, 512, 256, 1]
    nodes, initializers, value = [], [], "input"
    for layer, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
        weight = random.normal(0, (2 / inputs) ** 0.5, (outputs, inputs)).astype(np.float32)
        bias = random.normal(0, 0.1, outputs).astype(np.float32)
        initializers += [numpy_helper.from_array(weight, f"w{layer}"), numpy_helper.from_array(bias, f"b{layer}")]
        last = layer == len(sizes) - 2
        result = "output" if last else f"h{layer}"
        nodes.append(helper.make_node("Gemm", [value, f"w{layer}", f"b{layer}"], [result], transB=1, name=f"gemm{layer}"))
        value = result
        if not last:
            nodes.append(helper.make_node("Relu", [result], [f"r{layer}"], name=f"relu{layer}"))
            value = f"r{layer}"
    graph = helper.make_graph(
        nodes, "mlp", [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", 512])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["rows", 1])], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, f"{folder}/mlp.onnx")
    rows = random.normal(size=(256 if small else 2048, 512)).astype(np.float32)
    np.save(f"{folder}/mlp.npy", rows)
    np.savetxt(f"{folder}/mlp.csv", rows[:64], delimiter=",", header=",".join(f"c{i}" for i in range(512)), comments="")


def forest(folder, small):
    """300 trees of 63 leaves over 28 features, learned from noisy thresholds and products."""
    import lightgbm
    import xgboost

    random = np.random.default_rng(SEED + 1)
    trees, train = (20, 5_000) if small else (300, 100_000)
    x = random.normal(size=(train, 28)).astype(np.float32)
    signal = x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + (x[:, 3] > 0.5) * x[:, 4] - np.abs(x[:, 5]) + x[:, 6:28] @ random.normal(0, 0.3, 22)
    y = (signal + random.normal(size=train) > 0).astype(np.float32)
    booster = lightgbm.train(
        {"objective": "binary", "num_leaves": 63, "learning_rate": 0.05, "min_data_in_leaf": 20, "verbose": -1, "num_threads": 2, "seed": 7},
        lightgbm.Dataset(x, y), num_boost_round=trees)
    booster.save_model(f"{folder}/forest.txt")
    beside = xgboost.train(
        {"objective": "binary:logistic", "max_leaves": 63, "max_depth": 0, "grow_policy": "lossguide", "tree_method": "hist", "eta": 0.05,
         "nthread": 2, "seed": 7}, xgboost.DMatrix(x, y), num_boost_round=trees)
    beside.save_model(f"{folder}/forest.xgb.json")
    np.save(f"{folder}/forest.npy", random.normal(size=(512 if small else 8192, 28)).astype(np.float32))
    leaves = [tree["num_leaves"] for tree in booster.dump_model()["tree_info"]]
    print(f"forest: {len(leaves)} trees, {sum(leaves) / len(leaves):.1f} leaves on average (LightGBM)", file=sys.stderr)


def dlrm(folder, small):
    """26 tables of 1 M x 16, 13 numbers, bottom 512-256-16, top 512-256-1, as safetensors with its specification."""
    from safetensors.numpy import save_file

    random = np.random.default_rng(SEED + 2)
    rows, tables, width, numbers = (1_000 if small else 1_000_000), 26, 16, 13
    tensors = {}
    for table in range(tables):
        tensors[f"embeddings.c{table}.weight"] = random.uniform(-0.05, 0.05, (rows, width)).astype(np.float32)

    def tower(name, sizes):
        for layer, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
            tensors[f"{name}.{layer}.weight"] = random.normal(0, (2 / inputs) ** 0.5, (outputs, inputs)).astype(np.float32)
            tensors[f"{name}.{layer}.bias"] = random.normal(0, 0.05, outputs).astype(np.float32)

    vectors = tables + 1
    tower("bottom", [numbers, 512, 256, width])
    tower("top", [width + vectors * (vectors - 1) // 2, 512, 256, 1])
    save_file(tensors, f"{folder}/dlrm.safetensors")
    json.dump({"rows": rows, "tables": tables, "width": width, "numbers": numbers}, open(f"{folder}/dlrm.json", "w"))
    count = 256 if small else 8192
    np.save(f"{folder}/dlrm.numbers.npy", random.normal(size=(count, numbers)).astype(np.float32))
    # Ids as categories: whole numbers, whose table row the hash decides; and those rows, for whoever does not hash.
    ids = random.integers(0, 1 << 40, (count, tables)).astype(np.int64)
    np.save(f"{folder}/dlrm.ids.npy", ids)
    seeds = [hashing.feature_seed(f"c{table}") for table in range(tables)]
    hashed = [[hashing.row_of(hashing.categorical(b"%d" % id, seed), rows) for id, seed in zip(row, seeds)] for row in ids]
    np.save(f"{folder}/dlrm.rows.npy", np.array(hashed, np.int64))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", choices=["mlp", "forest", "dlrm"])
    arguments = parser.parse_args()
    os.makedirs(arguments.folder, exist_ok=True)
    for make in (mlp, forest, dlrm):
        if arguments.only in (None, make.__name__):
            print(f"making {make.__name__}", file=sys.stderr)
            make(arguments.folder, arguments.small)


if __name__ == "__main__":
    main()
