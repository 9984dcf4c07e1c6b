"""Random small models of every kind that the importers read, trained and scored by LightGBM and XGBoost themselves.

    forests.py FOLDER [--models N] [--each N] [--seed S] [--kinds a,b,…]

writes for each model into FOLDER: the model file, `NAME.rows` (float64, row-major), `NAME.raw` (raw scores: raw_score, output_margin) and
`NAME.answers` (what predict answers), all little-endian float64, and a line of `cases.txt`:

    NAME KIND FILE ROWS FEATURES RAW_WIDTH ANSWER_WIDTH FLAGS

FLAGS: `double` when inputs are not all 32-bit floats, `-` otherwise.
"""

import argparse
import json
import os
import sys
import warnings

import lightgbm
import numpy as np
import xgboost

warnings.filterwarnings("ignore")
xgboost.set_config(verbosity=0)


class Silent:
    def info(self, message):
        pass

    warning = info


lightgbm.register_logger(Silent())


class Data:
    """Rows with everything that a split can meet: missing values, zeros, categories, ties, tiny and huge values."""

    def __init__(self, random, categorical=0, positive=False, classes=0, targets=1, infinite=False, double=False):
        self.random = random
        rows = int(random.integers(20, 201))
        numeric = int(random.integers(1, 9))
        self.features = numeric + categorical
        columns = []
        signal = np.zeros(rows)
        for _ in range(numeric):
            form = random.integers(0, 7)
            column = random.normal(size=rows)
            if form == 1:
                column = np.where(random.random(rows) < 0.5, 0.0, column)
            elif form == 2:
                column = random.integers(-3, 4, rows).astype(float)
            elif form == 3:
                column = column * 10.0 ** random.integers(-36, 30)
            elif form == 4:
                column = np.full(rows, 1.5)
            elif form == 5:
                column = np.abs(column) * -1
            elif form == 6:
                column = np.where(random.random(rows) < 0.3, random.choice([1e-36, -1e-36, 1e-35, 2e-35, -0.0], rows), column)
            scale = np.max(np.abs(column)) or 1
            signal += random.normal() * column / scale
            if random.random() < 0.5:
                column[random.random(rows) < 0.25] = np.nan
            columns.append(column)
        self.categories = list(range(numeric, self.features))
        self.category_counts = []
        for _ in range(categorical):
            count = int(random.choice([2, 3, 5, 12, 40, 90]))
            self.category_counts.append(count)
            codes = random.integers(0, count, rows)
            signal += random.normal(size=count)[codes]
            column = codes.astype(float)
            if random.random() < 0.5:
                column[random.random(rows) < 0.15] = np.nan
            columns.append(column)
        self.rows = np.stack(columns, axis=1)
        self.double = double
        if not double:
            self.rows = self.rows.astype(np.float32).astype(np.float64)
        noise = signal + 0.3 * random.normal(size=rows)
        self.signal = noise
        self.positive = np.exp(np.clip(noise, -3, 3))
        self.binary = (noise > np.median(noise)).astype(float)
        self.unit = 1 / (1 + np.exp(-np.clip(noise, -10, 10)))
        if classes:
            order = np.argsort(np.argsort(noise))
            self.classes = (order * classes // rows).astype(float)
        self.targets = np.stack([noise * (k + 1) + random.normal(size=rows) for k in range(targets)], axis=1)
        self.grades = np.clip(np.round(noise) + 1, 0, 4)
        self.groups = [rows // 2, rows - rows // 2]

    def questions(self, thresholds):
        """The rows to be scored: those it learned from, and mutations of them, many with a split's own value or its neighbour."""
        random = self.random
        count = int(random.integers(20, 61))
        rows = self.rows[random.integers(0, len(self.rows), count)].copy()
        for row in rows:
            for _ in range(int(random.integers(0, 4))):
                feature = int(random.integers(0, self.features))
                kind = random.integers(0, 6)
                if feature in self.categories:
                    top = self.category_counts[self.categories.index(feature)]
                    row[feature] = random.choice([np.nan, 0, top - 1, top, top + 33, 1000, -1, -3, random.integers(0, top), 1e9, 0.5 + random.integers(0, top)])
                elif kind == 0:
                    row[feature] = np.nan
                elif kind == 1:
                    row[feature] = 0.0
                elif kind == 2:
                    row[feature] = random.normal() * 10.0 ** random.integers(-38, 30)
                elif thresholds.get(feature):
                    value = np.float32(random.choice(thresholds[feature]))
                    if self.double and random.random() < 0.7:
                        value = float(random.choice(thresholds[feature]))
                        row[feature] = random.choice([value, np.nextafter(value, np.inf), np.nextafter(value, -np.inf)])
                    else:
                        row[feature] = random.choice([value, np.nextafter(value, np.float32(np.inf)), np.nextafter(value, np.float32(-np.inf))])
        if not self.double:
            rows = rows.astype(np.float32).astype(np.float64)
        return rows


# LightGBM.

LIGHTGBM = {
    "binary": ("binary", {"objective": "binary"}, {}),
    "binary-sigmoid": ("binary", {"objective": "binary", "sigmoid": 2.3, "is_unbalance": True}, {}),
    "multiclass": ("classes", {"objective": "multiclass"}, {"classes": 4}),
    "multiclassova": ("classes", {"objective": "multiclassova", "sigmoid": 1.7}, {"classes": 3}),
    "regression": ("signal", {"objective": "regression"}, {}),
    "regression-double": ("signal", {"objective": "regression"}, {"double": True}),
    "regression-sqrt": ("signal", {"objective": "regression", "reg_sqrt": True}, {}),
    "regression-l1": ("signal", {"objective": "regression_l1"}, {}),
    "regression-l1-sqrt": ("signal", {"objective": "regression_l1", "reg_sqrt": True}, {}),
    "huber": ("signal", {"objective": "huber"}, {}),
    "fair": ("signal", {"objective": "fair"}, {}),
    "poisson": ("positive", {"objective": "poisson"}, {}),
    "quantile": ("signal", {"objective": "quantile", "alpha": 0.3}, {}),
    "mape": ("positive", {"objective": "mape"}, {}),
    "gamma": ("positive", {"objective": "gamma"}, {}),
    "tweedie": ("positive", {"objective": "tweedie"}, {}),
    "cross-entropy": ("unit", {"objective": "cross_entropy"}, {}),
    "cross-entropy-lambda": ("unit", {"objective": "cross_entropy_lambda"}, {}),
    "lambdarank": ("grades", {"objective": "lambdarank"}, {}),
    "rank-xendcg": ("grades", {"objective": "rank_xendcg"}, {}),
    "dart": ("binary", {"objective": "binary", "boosting": "dart", "drop_rate": 0.5, "skip_drop": 0.1}, {}),
    "forest-regression": ("signal", {"objective": "regression", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}, {}),
    "forest-binary": ("binary", {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}, {}),
    "forest-multiclass": ("classes", {"objective": "multiclass", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}, {"classes": 3}),
    "categorical": ("binary", {"objective": "binary", "min_data_per_group": 2, "cat_smooth": 1.0, "cat_l2": 1.0}, {"categorical": 3}),
    "categorical-onehot": ("signal", {"objective": "regression", "max_cat_to_onehot": 100, "min_data_per_group": 1}, {"categorical": 2}),
    "zero-missing": ("signal", {"objective": "regression", "zero_as_missing": True}, {}),
    "no-missing": ("binary", {"objective": "binary", "use_missing": False}, {}),
    "custom": ("signal", {"objective": "custom"}, {}),
    "constant": ("binary", {"objective": "binary", "min_data_in_leaf": 1000}, {}),
    "early-stopping": ("binary", {"objective": "binary"}, {}),
    "goss-monotone": ("signal", {"objective": "regression", "data_sample_strategy": "goss", "monotone": True}, {}),
}


def train_lightgbm(kind, random, path):
    target, chosen, shape = LIGHTGBM[kind]
    parameters = dict(chosen)
    data = Data(random, **shape)
    label = getattr(data, target)
    parameters.update(
        num_leaves=int(random.integers(2, 32)), learning_rate=float(random.choice([0.1, 0.5, 1.0])), verbosity=-1, num_threads=1,
        seed=int(random.integers(1 << 30)), deterministic=True, max_bin=int(random.choice([15, 63, 255])), min_data_in_bin=1)
    parameters.setdefault("min_data_in_leaf", int(random.integers(1, 8)))
    if "classes" in shape:
        parameters["num_class"] = shape["classes"]
    if parameters.pop("monotone", False):
        parameters["monotone_constraints"] = [int(random.integers(-1, 2)) for _ in range(data.features)]
    rounds = int(random.integers(1, 13))
    options = {}
    if target == "grades":
        options["group"] = data.groups
    if data.categories:
        options["categorical_feature"] = data.categories
    if random.random() < 0.5:
        options["feature_name"] = [f"feature_{k}" for k in range(data.features)]
    train = lightgbm.Dataset(data.rows, label=label, free_raw_data=False, params={"verbosity": -1}, **options)
    extra = {}
    if kind == "custom":
        parameters["objective"] = lambda scores, _: (scores - label, np.ones_like(scores))
    if kind == "early-stopping":
        flipped = np.where(random.random(len(label)) < 0.3, 1 - label, label)
        extra["valid_sets"] = [lightgbm.Dataset(data.rows, label=flipped, reference=train)]
        extra["callbacks"] = [lightgbm.early_stopping(2, verbose=False)]
        rounds = 20
    booster = lightgbm.train(parameters, train, rounds, **extra)
    if data.categories and random.random() < 0.5:
        # As training from a data frame leaves it: names in the order of codes, for each categorical column in turn.
        booster.pandas_categorical = [[f"c{code}" for code in range(count)] for count in data.category_counts]
    file = path + ".txt"
    booster.save_model(file)
    loaded = lightgbm.Booster(model_file=file)
    thresholds = {}

    def walk(node):
        if "split_feature" in node:
            if node["decision_type"] == "<=":
                thresholds.setdefault(node["split_feature"], []).append(node["threshold"])
            walk(node["left_child"])
            walk(node["right_child"])

    for tree in loaded.dump_model()["tree_info"]:
        walk(tree["tree_structure"])
    rows = data.questions(thresholds)
    raw = loaded.predict(rows, raw_score=True, num_threads=1)
    answers = loaded.predict(rows, num_threads=1)
    return file, rows, raw, answers, data.double


# XGBoost.

XGBOOST = {
    "squarederror": ("signal", {"objective": "reg:squarederror"}, {}),
    "squaredlogerror": ("positive", {"objective": "reg:squaredlogerror"}, {}),
    "logistic-regression": ("unit", {"objective": "reg:logistic"}, {}),
    "pseudohuber": ("signal", {"objective": "reg:pseudohubererror"}, {}),
    "absoluteerror": ("signal", {"objective": "reg:absoluteerror"}, {}),
    "quantile": ("signal", {"objective": "reg:quantileerror", "quantile_alpha": 0.3}, {}),
    "quantiles": ("signal", {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]}, {}),
    "gamma": ("positive", {"objective": "reg:gamma"}, {}),
    "tweedie": ("positive", {"objective": "reg:tweedie"}, {}),
    "poisson": ("positive", {"objective": "count:poisson"}, {}),
    "cox": ("positive", {"objective": "survival:cox"}, {}),
    "aft": ("positive", {"objective": "survival:aft"}, {}),
    "logistic": ("binary", {"objective": "binary:logistic"}, {}),
    "logitraw": ("binary", {"objective": "binary:logitraw"}, {}),
    "hinge": ("binary", {"objective": "binary:hinge"}, {}),
    "softprob": ("classes", {"objective": "multi:softprob"}, {"classes": 4}),
    "softmax": ("classes", {"objective": "multi:softmax"}, {"classes": 3}),
    "pairwise": ("grades", {"objective": "rank:pairwise"}, {}),
    "ndcg": ("grades", {"objective": "rank:ndcg"}, {}),
    "map": ("binary", {"objective": "rank:map"}, {}),
    "dart": ("binary", {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5, "one_drop": 1}, {}),
    "dart-multiclass": ("classes", {"objective": "multi:softprob", "booster": "dart", "rate_drop": 0.5}, {"classes": 3}),
    "forest": ("binary", {"objective": "binary:logistic", "num_parallel_tree": 5, "subsample": 0.7, "colsample_bynode": 0.8}, {}),
    "forest-multiclass": ("classes", {"objective": "multi:softprob", "num_parallel_tree": 3, "subsample": 0.7}, {"classes": 3}),
    "categorical": ("binary", {"objective": "binary:logistic", "max_cat_to_onehot": 1}, {"categorical": 3}),
    "categorical-onehot": ("signal", {"objective": "reg:squarederror", "max_cat_to_onehot": 100}, {"categorical": 3}),
    "multi-target": ("targets", {"objective": "reg:squarederror"}, {"targets": 3}),
    "vector-leaves": ("targets", {"objective": "reg:squarederror", "multi_strategy": "multi_output_tree"}, {"targets": 3}),
    "vector-multiclass": ("classes", {"objective": "multi:softprob", "multi_strategy": "multi_output_tree"}, {"classes": 3}),
    "exact": ("binary", {"objective": "binary:logistic", "tree_method": "exact"}, {}),
    "approx": ("signal", {"objective": "reg:squarederror", "tree_method": "approx"}, {}),
    "lossguide": ("signal", {"objective": "reg:squarederror", "grow_policy": "lossguide", "max_leaves": 20, "max_depth": 0}, {}),
    "pruned": ("signal", {"objective": "reg:squarederror", "tree_method": "exact", "gamma": 0.5}, {}),
    "stumps": ("binary", {"objective": "binary:logistic", "gamma": 1e9}, {}),
    "early-stopping": ("binary", {"objective": "binary:logistic"}, {}),
    "early-stopping-sklearn": ("binary", {"objective": "binary:logistic"}, {}),
    "linear": ("signal", {"objective": "reg:squarederror", "booster": "gblinear"}, {}),
    "linear-logistic": ("binary", {"objective": "binary:logistic", "booster": "gblinear"}, {}),
    "linear-poisson": ("positive", {"objective": "count:poisson", "booster": "gblinear"}, {}),
    "linear-multiclass": ("classes", {"objective": "multi:softprob", "booster": "gblinear"}, {"classes": 3}),
}


def matrix(data, rows, label=None, **options):
    types = ["c" if k in data.categories else "q" for k in range(data.features)]
    return xgboost.DMatrix(rows, label=label, feature_types=types, enable_categorical=True, nthread=1, **options)


def train_xgboost(kind, random, path):
    target, chosen, shape = XGBOOST[kind]
    parameters = dict(chosen)
    data = Data(random, **shape)
    if kind.startswith("linear"):
        data.rows = np.clip(data.rows, -1e3, 1e3)
    label = getattr(data, target)
    parameters.update(
        max_leaves=parameters.get("max_leaves", 0), eta=float(random.choice([0.1, 0.3, 1.0])), nthread=1, seed=int(random.integers(1 << 30)))
    if not kind.startswith("linear"):
        parameters.setdefault("max_depth", int(random.integers(1, 7)))
        parameters["max_bin"] = int(random.choice([16, 64, 256]))
        parameters["min_child_weight"] = float(random.choice([0, 0.1, 1]))
    if "classes" in shape:
        parameters["num_class"] = shape["classes"]
    if target in ("binary", "unit") and random.random() < 0.3:
        parameters["base_score"] = float(random.choice([0.5, 0.2, 0.9]))
    elif target == "positive" and random.random() < 0.3:
        parameters["base_score"] = float(random.choice([0.5, 1.0, 3.0]))
    elif target in ("signal", "grades") and random.random() < 0.3:
        parameters["base_score"] = float(random.choice([-1.5, 0.0, 3.0]))
    if kind == "hinge" or kind == "cox":
        parameters.pop("base_score", None)
    rounds = int(random.integers(1, 11))
    options = {}
    if target == "grades" or kind == "map":
        options["group"] = data.groups
    if kind == "aft":
        options["label_lower_bound"] = label
        options["label_upper_bound"] = label * random.choice([1.0, 2.0], len(label))
        label = None
    if kind == "cox":
        label = label * random.choice([-1, 1], len(label))
    if random.random() < 0.5:
        options["feature_names"] = [f"feature {k}" for k in range(data.features)]
    file = path + random.choice([".json", ".ubj"])
    predicted = {}
    if kind == "early-stopping-sklearn":
        flipped = np.where(random.random(len(label)) < 0.3, 1 - label, label)
        model = xgboost.XGBClassifier(
            n_estimators=30, early_stopping_rounds=2, n_jobs=1, max_depth=parameters["max_depth"], learning_rate=parameters["eta"])
        model.fit(data.rows, label, eval_set=[(data.rows, flipped)], verbose=False)
        model.save_model(file)
        predicted["iteration_range"] = (0, model.best_iteration + 1)
        options.pop("feature_names", None)
    else:
        train = matrix(data, data.rows, label, **options)
        extra = {}
        if kind == "early-stopping":
            flipped = np.where(random.random(len(label)) < 0.3, 1 - label, label)
            extra = {"evals": [(matrix(data, data.rows, flipped, **options), "held")], "early_stopping_rounds": 2, "verbose_eval": False}
            rounds = 30
        booster = xgboost.train(parameters, train, rounds, **extra)
        booster.save_model(file)
    loaded = xgboost.Booster(model_file=file)
    loaded.set_param({"nthread": 1})
    thresholds = {}
    learner = json.loads(loaded.save_raw("json"))["learner"]["gradient_booster"]
    for tree in learner.get("gbtree", learner)["model"].get("trees", []):
        for node, left in enumerate(tree["left_children"]):
            if left != -1 and not tree["split_type"][node]:
                thresholds.setdefault(tree["split_indices"][node], []).append(tree["split_conditions"][node])
    rows = data.questions(thresholds)
    if kind.startswith("linear"):
        rows = np.clip(rows, -1e3, 1e3)
    names = {"feature_names": options["feature_names"]} if "feature_names" in options else {}
    questions = matrix(data, rows, **names)
    raw = loaded.predict(questions, output_margin=True, **predicted)
    answers = loaded.predict(questions, **predicted)
    return file, rows, raw, answers, False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--models", type=int, default=0, help="models altogether, kinds in turn")
    parser.add_argument("--each", type=int, default=0, help="models of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default="")
    options = parser.parse_args()
    kinds = [("lightgbm", kind) for kind in LIGHTGBM] + [("xgboost", kind) for kind in XGBOOST]
    if options.kinds:
        wanted = options.kinds.split(",")
        kinds = [kind for kind in kinds if "/".join(kind) in wanted or kind[0] in wanted]
    count = options.each * len(kinds) if options.each else options.models or len(kinds)
    failures = []
    os.makedirs(options.folder, exist_ok=True)
    with open(os.path.join(options.folder, "cases.txt"), "w") as cases:
        for index in range(count):
            library, kind = kinds[index % len(kinds)]
            name = f"{library}-{kind}-{index // len(kinds)}"
            path = os.path.join(options.folder, name)
            # A model of one kind does not depend on which others are made.
            key = [options.seed, index // len(kinds)] + list(f"{library}/{kind}".encode())
            train = train_lightgbm if library == "lightgbm" else train_xgboost
            for attempt in range(20):
                # Some data a library cannot learn from at all: no column that splits, say. Then from other data.
                try:
                    file, rows, raw, answers, double = train(kind, np.random.default_rng(key + [attempt]), path)
                    break
                except (lightgbm.basic.LightGBMError, xgboost.core.XGBoostError) as error:
                    failures.append(f"{name}: {error}")
            else:
                sys.exit("\n".join(failures[-20:]))
            raw = np.asarray(raw, dtype=np.float64).reshape(len(rows), -1)
            answers = np.asarray(answers, dtype=np.float64).reshape(len(rows), -1)
            for suffix, values in (("rows", rows), ("raw", raw), ("answers", answers)):
                np.ascontiguousarray(values, dtype="<f8").tofile(f"{path}.{suffix}")
            cases.write(
                f"{name} {library}/{kind} {os.path.basename(file)} {len(rows)} {rows.shape[1]} {raw.shape[1]} {answers.shape[1]} {'double' if double else '-'}\n")
    print(f"{count} models of {len(kinds)} kinds; {len(failures)} sets of data that could not be learned from")


if __name__ == "__main__":
    sys.exit(main())
