"""Models that LightGBM and XGBoost trained from data frames with categorical columns, and what the libraries predict from frames.

    categories.py train FOLDER SEED     writes for each model NAME.txt or NAME.ubj, NAME.jsonl and NAME.csv (questions by the names of
                                        categories, some of which training never saw), NAME.answers and NAME.csv.answers; models.txt
                                        lists the names
    categories.py ask FOLDER GRPC REST  asks a server the same by tritonclient: columns as BYTES and as numbers, and the whole tensor as codes
"""
import json
import pickle
import sys
import warnings

import lightgbm
import numpy as np
import pandas as pd
import xgboost

warnings.filterwarnings("ignore")
ROWS = 120


class Silent:
    def info(self, message):
        pass

    warning = info


lightgbm.register_logger(Silent())

KINDS = {
    # Names in frames; names that training never sees.
    "text": (["AA", "B6", "", "Ünï cödé", 'quote"d', "7", "a,b"], ["ZZ", "aa", "8"]),
    # XGBoost 3.2 cuts names that are not all ASCII, which the importer knows.
    "ascii": (["AA", "B6", "", 'quote"d', "7", "a,b", "longer name"], ["ZZ", "aa", "8"]),
    "whole": ([3, -20, 7, 10**15], [0, 4]),
    "fraction": ([0.1, 2.5, -1.25, 1e-9], [0.2]),
    "boolean": ([True, False], []),
}


def frame(random, kinds, rows):
    """Columns called k0, k1, … of these kinds, between columns of numbers; every category is there."""
    columns = {"n0": random.normal(size=rows)}
    for k, kind in enumerate(kinds):
        names = KINDS[kind][0]
        values = [names[i] for i in random.permutation(np.resize(np.arange(len(names)), rows))]
        columns[f"k{k}"] = pd.Categorical(values, ordered=kind == "ordered")
        columns[f"n{k + 1}"] = random.integers(-5, 5, rows).astype(float)
    return pd.DataFrame(columns)


def questions(random, train, kinds):
    """Rows as a client has them: plain values, None for what is missing, and names that training never saw."""
    rows = []
    for _ in range(ROWS):
        row = {}
        for column in train.columns:
            if column[0] == "n":
                row[column] = float(np.float32(random.choice(train[column])))
                continue
            names, unseen = KINDS[kinds[int(column[1:])]]
            draw = random.random()
            row[column] = unseen[random.integers(len(unseen))] if unseen and draw < 0.2 else None if draw < 0.3 else names[random.integers(len(names))]
        rows.append(row)
    return rows


def asked(rows, train, knows_all):
    """The frame that the library predicts from. XGBoost refuses names that it has not seen, which are missing to us."""
    columns = {}
    for column in train.columns:
        values = [row[column] for row in rows]
        if column[0] == "n":
            columns[column] = np.array(values)
            continue
        known = list(train[column].cat.categories)
        if knows_all:
            values = [value if value in known else None for value in values]
            columns[column] = pd.Categorical(values, categories=known)
        else:
            columns[column] = pd.Categorical(values)
    return pd.DataFrame(columns)


def train(folder, seed):
    listed = []
    plans = [
        ("lightgbm", ["text", "whole"]), ("lightgbm", ["boolean", "fraction", "text", "whole"]), ("lightgbm-ordered", ["whole", "text"]),
        ("xgboost", ["ascii", "whole"]), ("xgboost", ["whole", "whole", "ascii"]),
    ]
    for index, (library, kinds) in enumerate(plans):
        random = np.random.default_rng([seed, index])
        data = frame(random, kinds, 600)
        if library == "lightgbm-ordered":
            # Splits take its codes as numbers, so it is not among the model's categorical features.
            data["k0"] = data["k0"].cat.as_ordered()
        codes = sum((k + 1) * (data[f"k{k}"].cat.codes * 37 % 5) for k in range(len(kinds)))
        label = (codes + data.n0 + 0.1 * data.n1).to_numpy()
        rows = questions(random, data, kinds)
        name = f"{library}-{index}"
        if library.startswith("lightgbm"):
            parameters = {"objective": "regression", "num_leaves": 15, "min_data_in_leaf": 5, "min_data_per_group": 2, "verbosity": -1, "num_threads": 1}
            model = lightgbm.train(parameters, lightgbm.Dataset(data, label), 20)
            model.save_model(f"{folder}/{name}.txt")

            def predict(rows):
                question = asked(rows, data, False)
                if library == "lightgbm-ordered":
                    question["k0"] = pd.Categorical([row["k0"] for row in rows], categories=data.k0.cat.categories, ordered=True)
                return model.predict(question)
        else:
            matrix = xgboost.DMatrix(data, label, enable_categorical=True)
            model = xgboost.train({"max_cat_to_onehot": 2, "max_depth": 5, "nthread": 1}, matrix, 20)
            model.save_model(f"{folder}/{name}.ubj")

            def predict(rows):
                return model.predict(xgboost.DMatrix(asked(rows, data, True), enable_categorical=True))

        np.savetxt(f"{folder}/{name}.answers", predict(rows))
        with open(f"{folder}/{name}.jsonl", "w") as lines:
            for number, row in enumerate(rows):
                features = {column: value for column, value in row.items() if value is not None}
                lines.write(json.dumps({"id": str(number), "features": features}, ensure_ascii=False) + "\n")
        # An empty field is missing in a table, so the name that is empty cannot be told there.
        table = [{column: None if value == "" else value for column, value in row.items()} for row in rows]
        pd.DataFrame(table, dtype=object).to_csv(f"{folder}/{name}.csv", index=False)
        np.savetxt(f"{folder}/{name}.csv.answers", predict(table))
        with open(f"{folder}/{name}.rows", "wb") as file:
            known = {column: list(data[column].cat.categories) for column in data.columns if column[0] == "k"}
            pickle.dump((list(data.columns), known, rows), file)
        listed.append(name)
    with open(f"{folder}/models.txt", "w") as file:
        file.write("\n".join(listed) + "\n")


def tensor(kind, name, values, datatype):
    types = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}
    values = np.array(values, dtype=types[datatype])
    values = values if values.ndim == 2 else values.reshape(-1, 1)
    made = kind.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


def ask(folder, grpc_address, rest_address):
    import tritonclient.grpc as triton
    import tritonclient.http as triton_http
    from tritonclient.utils import InferenceServerException

    clients = [(triton, triton.InferenceServerClient(grpc_address)), (triton_http, triton_http.InferenceServerClient(rest_address))]
    for name in open(f"{folder}/models.txt").read().split():
        columns, known, rows = pickle.load(open(f"{folder}/{name}.rows", "rb"))
        answers = np.loadtxt(f"{folder}/{name}.answers")
        # A name that is none stands for what is missing: a tensor has a value in each row.
        names = {column: [row[column] for row in rows] for column in columns}
        for kind, client in clients:
            def check(inputs, what, expected=answers):
                found = client.infer(name, inputs).as_numpy("output").reshape(-1)
                worst = np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected)))
                assert worst < 1e-5, (name, kind.__name__, what, worst)

            def column(of, as_text):
                values = names[of]
                if of[0] == "n":
                    return tensor(kind, of, values, "FP64")
                if as_text or any(isinstance(value, str) for value in values):
                    return tensor(kind, of, ["no such name" if value is None else str(value) for value in values], "BYTES")
                return tensor(kind, of, [np.nan if value is None else value for value in values], "FP64")

            check([column(of, False) for of in columns], "names and numbers")
            check([column(of, True) for of in columns], "names as texts")
            for of, datatype in (("k0", "INT64"), ("k1", "INT64"), ("k0", "BOOL")):
                values = names.get(of, [])
                good = [row for row, value in enumerate(values) if type(value) is (bool if datatype == "BOOL" else int)]
                if good:
                    inputs = [tensor(kind, c, [names[c][row] for row in good], "FP64" if c[0] == "n" else "BYTES") for c in columns if c[0] == "n"]
                    alone = [tensor(kind, of, [values[row] for row in good], datatype)]
                    same = [tensor(kind, of, [str(values[row]) for row in good], "BYTES")]
                    check(inputs + alone, datatype, client.infer(name, inputs + same).as_numpy("output").reshape(-1))
            codes = [[row[c] if c[0] == "n" else known[c].index(row[c]) if row[c] in known[c] else np.nan for c in columns] for row in rows]
            check([tensor(kind, "input", codes, "FP32")], "codes")
            # tritonclient's message has no properties, so by gRPC the configuration tells.
            config = client.get_model_config(name, as_json=True)["config"] if kind is triton else client.get_model_config(name)
            told = [config["parameters"]["categories.input"]["string_value"]]
            if kind is triton_http:
                told.append(client.get_model_metadata(name)["properties"]["categories.input"])
            assert all(text == ",".join(sorted(known)) for text in told), told
            try:
                client.infer(name, [tensor(kind, "n0", ["AA"], "BYTES")])
            except InferenceServerException as problem:
                assert "n0" in problem.message(), problem
            else:
                raise AssertionError("a text for a column of numbers was taken")
    print("ok")


if sys.argv[1] == "train":
    train(sys.argv[2], int(sys.argv[3]))
else:
    ask(*sys.argv[2:])
