"""The node tests of the `onnx` package, written as a file of cases: node_cases.py FILE

Those of the operators that graphs here are made of, and the expansions of those operators into functions. What cannot run for a
reason that the case itself shows (a type that is no tensor, elements narrower than a byte) is marked with it.
"""

import sys
import warnings

warnings.filterwarnings("ignore")

import onnx
from onnx.backend.test.case.node import collect_testcases

from cases import CaseWriter

OPERATORS = set(
    """Gemm MatMul Add Sub Mul Div Relu LeakyRelu Elu Selu Gelu Sigmoid Tanh Softmax LogSoftmax Softplus Clip Concat Split
    Slice Gather GatherElements Reshape Flatten Squeeze Unsqueeze Transpose Expand Cast Identity Dropout BatchNormalization
    LayerNormalization ReduceSum ReduceMean ReduceMax ReduceL2 Pow Sqrt Exp Log Abs Neg Where Equal Greater GreaterOrEqual Less
    LessOrEqual And Or Not Xor IsNaN IsInf ArgMax TopK OneHot Constant ConstantOfShape Shape QuantizeLinear DequantizeLinear
    QLinearMatMul MatMulInteger DynamicQuantizeLinear TreeEnsembleClassifier TreeEnsembleRegressor LinearClassifier LinearRegressor
    Scaler Normalizer Imputer LabelEncoder OneHotEncoder FeatureVectorizer ArrayFeatureExtractor Binarizer ZipMap
    ReduceMin ReduceProd ReduceL1 ReduceLogSum ReduceLogSumExp ReduceSumSquare ArgMin CumSum Tile Pad TreeEnsemble CategoryMapper
    CastLike Min Max Sum Mean Reciprocal Sign Floor Ceil Round Erf HardSigmoid HardSwish Celu PRelu ThresholdedRelu Softsign Size Sin Cos
    GatherND""".split()
)

NARROW = {
    getattr(onnx.TensorProto, name): name
    for name in dir(onnx.TensorProto)
    if name.startswith(("FLOAT8", "FLOAT4", "INT4", "UINT4", "INT2", "UINT2", "COMPLEX", "FLOAT6", "FP8"))
    and isinstance(getattr(onnx.TensorProto, name), int)
}


def element_types(model):
    """Element types of inputs, outputs and constants, and where nodes cast to."""
    for value in list(model.graph.input) + list(model.graph.output):
        yield value.type.tensor_type.elem_type
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "output_dtype") and attribute.type == onnx.AttributeProto.INT:
                yield attribute.i
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t.data_type


def skip_reason(model):
    for value in list(model.graph.input) + list(model.graph.output):
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            return f"{kind} instead of a tensor"
    for element in element_types(model):
        if element in NARROW:
            return f"elements of kind {NARROW[element]}"
    for node in model.graph.node:
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
            return "Dropout in training mode: random"
        if node.op_type == "BatchNormalization" and any(a.name == "training_mode" and a.i for a in node.attribute):
            return "BatchNormalization in training mode"
    return ""


def main():
    writer = CaseWriter(sys.argv[1])
    cases = collect_testcases(None)
    by_name = {case.name: case for case in cases}
    other = {}
    for case in cases:
        graph = case.model.graph
        kinds = sorted({node.op_type for node in graph.node})
        base = by_name.get(case.name.split("_expanded")[0], case)
        group = base.model.graph.node[0].op_type if "_expanded" in case.name else kinds[0]
        if group not in OPERATORS:
            other[group] = other.get(group, 0) + 1
            continue
        skip = skip_reason(case.model)
        missing = [kind for kind in kinds if kind not in OPERATORS]
        if not skip and missing:
            skip = "expands to operators that nobody asked for: " + " ".join(missing)
        # What has not changed since the first opsets (Not) is tested at 1; the oldest one that is read here is 7.
        for imported in case.model.opset_import:
            if imported.domain == "" and imported.version < 7:
                imported.version = 7
        inputs, outputs = case.data_sets[0]
        names_in = [value.name for value in graph.input]
        names_out = [value.name for value in graph.output]
        writer.add(
            case.name, group, case.model, list(zip(names_in, inputs)), list(zip(names_out, outputs)),
            rtol=case.rtol, atol=case.atol, skip=skip)
    writer.close()
    print(f"{writer.count} node tests of onnx {onnx.__version__}; {sum(other.values())} of {len(other)} other operators left out")


main()
