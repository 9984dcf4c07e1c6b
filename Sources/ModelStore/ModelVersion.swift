internal import Bundles
internal import Families
internal import ONNX
