"""Whole models with what their origin answers: origin_models.py FILE [SEED]

scikit-learn by skl2onnx, LightGBM and XGBoost by onnxmltools: fitted here on generated data, converted, and asked for their own
predictions, in double precision where they compute so. The cases' expected outputs are the origin's, not onnxruntime's.
"""

import logging
import os
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")

import lightgbm
import numpy as np
import onnx.helper
import onnxruntime
import xgboost
from onnxruntime.quantization import QuantType, quantize_dynamic
# skl2onnx 1.20 gives booleans and narrow integers for integer attributes, which onnx 1.23 refuses.
make_attribute = onnx.helper.make_attribute


def make_plain_attribute(key, value, *rest, **others):
    if isinstance(value, list) and any(isinstance(v, (bool, np.bool_, np.integer)) for v in value):
        value = [int(v) if isinstance(v, (bool, np.bool_, np.integer)) else v for v in value]
    return make_attribute(key, value, *rest, **others)


onnx.helper.make_attribute = make_plain_attribute

from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as ToolsFloatTensorType
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, NuSVR, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from cases import CaseWriter

FEATURES = 7


class Origins:
    def __init__(self, path, seed):
        self.writer = CaseWriter(path)
        self.random = np.random.default_rng(seed)
        self.seed = seed
        self.refused = []
        self.otherwise = []
        x = self.random.standard_normal((400, FEATURES)).astype(np.float32)
        self.x = x
        signal = x[:, 0] - 0.5 * x[:, 1] * x[:, 2] + np.sin(2 * x[:, 3]) + 0.3 * self.random.standard_normal(400)
        self.target = signal.astype(np.float64)
        self.two = (signal > 0).astype(np.int64)
        self.three = np.digitize(signal, [-0.7, 0.7]).astype(np.int64)
        self.words = np.array(["low", "middle", "high"])[self.three]
        self.rows = self.random.standard_normal((19, FEATURES)).astype(np.float32)

    def add(self, name, group, model, inputs, outputs, rtol=1e-5, atol=1e-5):
        """outputs: arrays in the order of the graph's outputs; None: not compared."""
        names = [value.name for value in model.graph.output]
        # Where onnxruntime answers otherwise too, the converter or single precision at a threshold did it.
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        for answer, expected in zip(session.run(None, dict(inputs)), outputs):
            answer = np.array([list(row.values()) for row in answer]) if isinstance(answer, list) else answer
            same = (
                np.array_equal(answer.ravel(), np.asarray(expected).ravel()) if answer.dtype.kind in "OU"
                else np.allclose(answer.ravel(), np.asarray(expected).ravel(), rtol=2e-5, atol=2e-5))
            if not same:
                self.otherwise.append(f"{group} {name}")
                return
        self.writer.add(name, group, model, inputs, [(n, v) for n, v in zip(names, outputs)], rtol=rtol, atol=atol)

    def sklearn(self, name, model, y, x=None, rows=None, target_opset=None, rtol=1e-5, atol=1e-5, zipmap=False):
        x = self.x if x is None else x
        rows = self.rows if rows is None else rows
        model.fit(x, y)
        kind = DoubleTensorType if rows.dtype == np.float64 else Int64TensorType if rows.dtype == np.int64 else FloatTensorType
        # Rows as the origin is asked: in double precision, from the same values.
        asked = rows
        final = model.steps[-1][1] if hasattr(model, "steps") else model
        classifies = hasattr(final, "predict_proba") or hasattr(final, "decision_function") and hasattr(final, "classes_")
        options = {id(model): {"zipmap": zipmap}} if hasattr(final, "predict_proba") else None
        try:
            converted = to_onnx(model, initial_types=[("x", kind([None, rows.shape[1]]))], options=options, target_opset=target_opset)
        except Exception as error:  # noqa: BLE001: what the converter cannot do is counted
            self.refused.append((name, str(error).strip().splitlines()[0][:150]))
            return
        if classifies:
            scores = model.predict_proba(asked) if hasattr(model, "predict_proba") else model.decision_function(asked)
            if scores.ndim == 1 and isinstance(final, (SVC, NuSVC)):
                scores = np.stack([scores, -scores], 1)
            if scores.ndim == 1:
                scores = scores.reshape(-1, 1)
            outputs = [model.predict(asked), scores.astype(np.float32)]
        elif hasattr(model, "predict"):
            predicted = np.asarray(model.predict(asked))
            outputs = [predicted.reshape(len(asked), -1).astype(np.float32)]
        else:
            outputs = [np.asarray(model.transform(asked)).astype(np.float32)]
        self.add(name, "scikit-learn", converted, [("x", rows)], outputs, rtol, atol)

    def finish(self):
        self.writer.close()


def scikit_learn(o):
    s = o.seed
    o.sklearn("logistic regression, 2 classes", LogisticRegression(), o.two)
    o.sklearn("logistic regression, 3 classes", LogisticRegression(), o.three)
    o.sklearn("logistic regression, text labels, zipmap", LogisticRegression(), o.words, zipmap=True)
    o.sklearn("linear regression", LinearRegression(), o.target)
    o.sklearn("ridge", Ridge(), o.target)
    o.sklearn("ridge, 2 targets", Ridge(), np.stack([o.target, o.x[:, 1]], 1))
    o.sklearn("elastic net", ElasticNet(alpha=0.1), o.target)
    o.sklearn("linear SVC, 2 classes", LinearSVC(), o.two)
    o.sklearn("linear SVC, 3 classes", LinearSVC(), o.three)
    for kernel in ("linear", "poly", "rbf", "sigmoid"):
        o.sklearn(f"SVC, {kernel}, 2 classes", SVC(kernel=kernel), o.two, rtol=1e-4, atol=1e-4)
        o.sklearn(f"SVC, {kernel}, text labels, votes of pairs", SVC(kernel=kernel, decision_function_shape="ovo"), o.words, rtol=1e-4, atol=1e-4)
        o.sklearn(f"SVC, {kernel}, 3 classes, a score for each", SVC(kernel=kernel), o.three, rtol=1e-4, atol=1e-4)
        o.sklearn(f"SVC, {kernel}, 3 classes, probabilities", SVC(kernel=kernel, probability=True, random_state=s), o.three, rtol=1e-4, atol=1e-4)
        o.sklearn(f"SVR, {kernel}", SVR(kernel=kernel), o.target, rtol=1e-4, atol=1e-4)
        o.sklearn(f"one class SVM, {kernel}", OneClassSVM(kernel=kernel), o.target, rtol=1e-4, atol=1e-3)
    o.sklearn("SVC, 2 classes, probabilities, zipmap", SVC(probability=True, random_state=s), o.two, zipmap=True, rtol=1e-4, atol=1e-4)
    o.sklearn("nu SVC", NuSVC(nu=0.3), o.two, rtol=1e-4, atol=1e-4)
    o.sklearn("nu SVR", NuSVR(), o.target, rtol=1e-4, atol=1e-4)
    o.sklearn("linear SVR", LinearSVR(), o.target)
    o.sklearn("scaler + SVC", make_pipeline(StandardScaler(), SVC()), o.three, rtol=1e-4, atol=1e-4)
    o.sklearn("SGD classifier", SGDClassifier(loss="log_loss", random_state=s), o.three)
    o.sklearn("decision tree", DecisionTreeClassifier(max_depth=5, random_state=s), o.three)
    o.sklearn("decision tree regressor", DecisionTreeRegressor(max_depth=6, random_state=s), o.target)
    o.sklearn("random forest, 2 classes", RandomForestClassifier(20, max_depth=6, random_state=s), o.two)
    o.sklearn("random forest, 3 classes", RandomForestClassifier(20, max_depth=6, random_state=s), o.three, zipmap=True)
    o.sklearn("random forest, text labels", RandomForestClassifier(20, max_depth=6, random_state=s), o.words)
    o.sklearn("random forest regressor", RandomForestRegressor(20, max_depth=6, random_state=s), o.target)
    o.sklearn("extra trees", ExtraTreesClassifier(20, max_depth=6, random_state=s), o.three)
    o.sklearn("extra trees regressor", ExtraTreesRegressor(20, max_depth=6, random_state=s), o.target)
    o.sklearn("gradient boosting, 2 classes", GradientBoostingClassifier(n_estimators=30, random_state=s), o.two)
    o.sklearn("gradient boosting, 3 classes", GradientBoostingClassifier(n_estimators=20, random_state=s), o.three)
    o.sklearn("gradient boosting regressor", GradientBoostingRegressor(n_estimators=30, random_state=s), o.target)
    holes, holes_rows = o.x.copy(), o.rows.copy()
    holes[::5, 1] = np.nan
    holes_rows[::3, 1] = np.nan
    o.sklearn("histogram gradient boosting, missing values", HistGradientBoostingClassifier(max_iter=20, random_state=s), o.two, holes, holes_rows)
    o.sklearn("histogram gradient boosting, 3 classes", HistGradientBoostingClassifier(max_iter=20, random_state=s), o.three)
    o.sklearn("histogram gradient boosting regressor", HistGradientBoostingRegressor(max_iter=20, random_state=s), o.target)
    o.sklearn("AdaBoost", AdaBoostClassifier(n_estimators=10, random_state=s), o.three)
    o.sklearn("bagging", BaggingClassifier(n_estimators=5, random_state=s), o.two)
    o.sklearn("voting", VotingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier(max_depth=3, random_state=s))], voting="soft", flatten_transform=False), o.two)
    o.sklearn("stacking", StackingRegressor([("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=3, random_state=s))]), o.target)
    o.sklearn("calibrated", CalibratedClassifierCV(LogisticRegression(), cv=2), o.two)
    o.sklearn("MLP classifier, relu", MLPClassifier((16, 8), max_iter=60, random_state=s), o.three)
    o.sklearn("MLP classifier, 2 classes, tanh", MLPClassifier((16,), activation="tanh", max_iter=60, random_state=s), o.two)
    o.sklearn("MLP regressor, logistic", MLPRegressor(hidden_layer_sizes=(16, 8), activation="logistic", max_iter=60, random_state=s), o.target)
    o.sklearn("naive Bayes, Gaussian", GaussianNB(), o.three)
    o.sklearn("naive Bayes, Bernoulli", BernoulliNB(), o.three)
    o.sklearn("scaler + logistic regression", make_pipeline(StandardScaler(), LogisticRegression()), o.two)
    o.sklearn("imputer + scaler + logistic regression", make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()), o.two, holes, holes_rows)
    o.sklearn("min max + ridge", make_pipeline(MinMaxScaler(), Ridge()), o.target)
    o.sklearn("max abs + robust + ridge", make_pipeline(MaxAbsScaler(), RobustScaler(), Ridge()), o.target)
    o.sklearn("normalizer + ridge", make_pipeline(Normalizer(), Ridge()), o.target)
    o.sklearn("binarizer + logistic regression", make_pipeline(Binarizer(threshold=0.2), LogisticRegression()), o.three)
    o.sklearn("polynomial + ridge", make_pipeline(PolynomialFeatures(2), Ridge()), o.target)
    o.sklearn("PCA + logistic regression", make_pipeline(PCA(3), LogisticRegression()), o.three)
    o.sklearn("SVD + ridge", make_pipeline(TruncatedSVD(3), Ridge()), o.target)
    o.sklearn("union + ridge", make_pipeline(FeatureUnion([("a", StandardScaler()), ("b", PCA(2))]), Ridge()), o.target)
    o.sklearn("k bins, one hot + ridge", make_pipeline(KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf"), Ridge()), o.target)
    o.sklearn("k bins, ordinal", KBinsDiscretizer(4, encode="ordinal", strategy="uniform"), o.target)
    whole = np.abs(np.round(o.x * 1.5)).astype(np.int64)
    whole_rows = np.minimum(np.abs(np.round(o.rows * 1.5)).astype(np.int64), whole.max(0))
    o.sklearn("one hot of whole numbers + logistic regression", make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()), o.three, whole, whole_rows)
    for opset in (9, 11, 13, 15, 18):
        o.sklearn(f"scaler + MLP, opset {opset}", make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=40, random_state=s)), o.three, target_opset={"": opset, "ai.onnx.ml": 1 if opset < 12 else 3})
        o.sklearn(f"forest, opset {opset}", RandomForestClassifier(5, max_depth=4, random_state=s), o.three, target_opset={"": opset, "ai.onnx.ml": 1 if opset < 12 else 3})
    columns(o)


def columns(o):
    """A table with text columns: every column is an input of its own."""
    r = o.random

    def table(count):
        """carrier, origin, distance, delay, hour"""
        columns = [
            r.choice(["UA", "AA", "B6", "DL"], count), r.choice(["JFK", "LGA", "EWR"], count),
            r.gamma(2.0, 500.0, count).astype(np.float32), r.standard_normal(count).astype(np.float32) * 10, r.integers(0, 24, count),
        ]
        return np.array([column.astype(object) for column in columns], object).T

    train, asked = table(500), table(23)
    asked[3, 0] = "ZZ"
    carrier, distance, gone, hour = train[:, 0], train[:, 2].astype(float), train[:, 3].astype(float), train[:, 4].astype(int)
    label = ((carrier == "UA") & (distance > 800) | (hour > 15)).astype(np.int64)
    delay = distance / 100 + 5 * (carrier == "B6") + gone
    kinds = [("carrier", StringTensorType([None, 1])), ("origin", StringTensorType([None, 1])), ("distance", FloatTensorType([None, 1])),
             ("delay", FloatTensorType([None, 1])), ("hour", Int64TensorType([None, 1]))]
    texts, numbers = [0, 1], [2, 3]
    prepared = lambda encoder: ColumnTransformer([("texts", encoder, texts), ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers), ("hour", StandardScaler(), [4])])
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    models = {
        "table + logistic regression": (make_pipeline(prepared(one_hot), LogisticRegression()), label),
        "table + random forest": (make_pipeline(prepared(one_hot), RandomForestClassifier(10, max_depth=5, random_state=o.seed)), label),
        "table + gradient boosting": (make_pipeline(prepared(one_hot), GradientBoostingRegressor(n_estimators=20, random_state=o.seed)), delay),
        "table + MLP": (make_pipeline(prepared(one_hot), MLPClassifier((12,), max_iter=40, random_state=o.seed)), label),
        "table, ordinal codes + forest": (make_pipeline(prepared(ordinal), RandomForestClassifier(10, max_depth=5, random_state=o.seed)), label),
        "table + text labels": (make_pipeline(prepared(one_hot), LogisticRegression()), np.where(label == 1, "late", "on time")),
    }
    for name, (model, y) in models.items():
        model.fit(train, y)
        classifies = hasattr(model, "predict_proba")
        try:
            converted = to_onnx(model, initial_types=kinds, options={id(model): {"zipmap": False}} if classifies else None)
        except Exception as error:  # noqa: BLE001
            o.refused.append((name, str(error).strip().splitlines()[0][:150]))
            continue
        types = [object, object, np.float32, np.float32, np.int64]
        inputs = [(n, asked[:, [i]].astype(types[i])) for i, (n, _) in enumerate(kinds)]
        if classifies:
            outputs = [model.predict(asked), model.predict_proba(asked).astype(np.float32)]
        else:
            outputs = [model.predict(asked).reshape(-1, 1).astype(np.float32)]
        o.add(name, "scikit-learn", converted, inputs, outputs)


def light_gbm(o):
    kind = [("x", ToolsFloatTensorType([None, FEATURES]))]
    holes, rows = o.x.copy(), o.rows.copy()
    holes[::4, 0] = np.nan
    rows[::4, 0] = np.nan
    base = dict(n_estimators=15, num_leaves=15, verbose=-1, random_state=o.seed, n_jobs=1)
    models = {
        "binary": (lightgbm.LGBMClassifier(**base), o.two),
        "3 classes": (lightgbm.LGBMClassifier(**base), o.three),
        "text labels": (lightgbm.LGBMClassifier(**base), o.words),
        "regression": (lightgbm.LGBMRegressor(**base), o.target),
        "regression, L1": (lightgbm.LGBMRegressor(objective="mae", **base), o.target),
        "poisson": (lightgbm.LGBMRegressor(objective="poisson", **base), np.abs(o.target)),
        "DART": (lightgbm.LGBMClassifier(boosting_type="dart", **base), o.two),
        "random forest": (lightgbm.LGBMClassifier(boosting_type="rf", subsample=0.7, subsample_freq=1, **base), o.two),
        "large leaves": (lightgbm.LGBMRegressor(**{**base, "num_leaves": 80, "min_child_samples": 2}), o.target),
        "gamma": (lightgbm.LGBMRegressor(objective="gamma", **base), np.abs(o.target) + 0.1),
        "tweedie": (lightgbm.LGBMRegressor(objective="tweedie", **base), np.abs(o.target)),
        "ranking": (lightgbm.LGBMRanker(**base), o.three),
        "binary, missing values": (lightgbm.LGBMClassifier(**base), o.two),
    }
    for name, (model, y) in models.items():
        missing = "missing" in name
        extra = {"group": [40] * 10} if name == "ranking" else {}
        model.fit(holes if missing else o.x, y, **extra)
        asked = rows if missing else o.rows
        try:
            converted = convert_lightgbm(model, initial_types=kind, zipmap=False, target_opset=15)
        except Exception as error:  # noqa: BLE001
            o.refused.append((f"LightGBM {name}", str(error).strip().splitlines()[0][:150]))
            continue
        if hasattr(model, "predict_proba"):
            outputs = [model.predict(asked), model.predict_proba(asked).astype(np.float32)]
        else:
            outputs = [model.predict(asked).reshape(-1, 1).astype(np.float32)]
        o.add(name, "LightGBM", converted, [("x", asked)], outputs)


def xg_boost(o):
    kind = [("x", ToolsFloatTensorType([None, FEATURES]))]
    holes, rows = o.x.copy(), o.rows.copy()
    holes[::4, 0] = np.nan
    rows[::4, 0] = np.nan
    base = dict(n_estimators=15, max_depth=4, random_state=o.seed, n_jobs=1)
    models = {
        "binary": (xgboost.XGBClassifier(**base), o.two),
        "3 classes": (xgboost.XGBClassifier(**base), o.three),
        "regression": (xgboost.XGBRegressor(**base), o.target),
        "regression, base score": (xgboost.XGBRegressor(base_score=0.25, **base), o.target),
        "regression, absolute error": (xgboost.XGBRegressor(objective="reg:absoluteerror", **base), o.target),
        "logistic regression": (xgboost.XGBRegressor(objective="reg:logistic", **base), o.two),
        "poisson": (xgboost.XGBRegressor(objective="count:poisson", **base), np.abs(o.target)),
        "tweedie": (xgboost.XGBRegressor(objective="reg:tweedie", **base), np.abs(o.target)),
        "DART": (xgboost.XGBClassifier(booster="dart", rate_drop=0.1, **base), o.two),
        "random forest": (xgboost.XGBRFClassifier(n_estimators=15, max_depth=4, random_state=o.seed, n_jobs=1), o.two),
        "random forest regressor": (xgboost.XGBRFRegressor(n_estimators=15, max_depth=4, random_state=o.seed, n_jobs=1), o.target),
        "ranking": (xgboost.XGBRanker(**base), o.three),
        "binary, missing values": (xgboost.XGBClassifier(**base), o.two),
        "deep": (xgboost.XGBRegressor(**{**base, "max_depth": 9}), o.target),
    }
    for name, (model, y) in models.items():
        missing = "missing" in name
        extra = {"group": [40] * 10} if name == "ranking" else {}
        model.fit(holes if missing else o.x, y, **extra)
        asked = rows if missing else o.rows
        try:
            converted = convert_xgboost(model, initial_types=kind, target_opset=15)
        except Exception as error:  # noqa: BLE001
            o.refused.append((f"XGBoost {name}", (str(error).strip().splitlines() or [repr(error)])[0][:150]))
            continue
        if hasattr(model, "predict_proba"):
            outputs = [model.predict(asked), model.predict_proba(asked).astype(np.float32)]
        else:
            outputs = [model.predict(asked).reshape(-1, 1).astype(np.float32)]
        o.add(name, "XGBoost", converted, [("x", asked)], outputs)


def quantized(o):
    """Perceptrons as onnxruntime's quantize_dynamic leaves them: what onnxruntime answers, within a rounding of the activations."""
    for kind in (QuantType.QInt8, QuantType.QUInt8):
        model = MLPRegressor(hidden_layer_sizes=(32, 16), max_iter=80, random_state=o.seed).fit(o.x, o.target)
        with tempfile.TemporaryDirectory() as folder:
            plain, small = os.path.join(folder, "plain.onnx"), os.path.join(folder, "small.onnx")
            onnx.save(to_onnx(model, initial_types=[("x", FloatTensorType([None, FEATURES]))]), plain)
            quantize_dynamic(plain, small, weight_type=kind)
            converted = onnx.load(small)
        session = onnxruntime.InferenceSession(converted.SerializeToString(), providers=["CPUExecutionProvider"])
        o.add(f"perceptron, {kind.name}", "quantize_dynamic", converted, [("x", o.rows)], session.run(None, {"x": o.rows}), rtol=0, atol=0.1)


def main():
    onnxruntime.set_default_logger_severity(4)
    logging.disable(logging.WARNING)
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    origins = Origins(sys.argv[1], seed)
    scikit_learn(origins)
    light_gbm(origins)
    xg_boost(origins)
    quantized(origins)
    origins.finish()
    print(f"{origins.writer.count} whole models, seed {seed}; the converters refuse {len(origins.refused)}: {origins.refused}; "
          f"converted to something else, by onnxruntime's answers too: {origins.otherwise}")


main()
