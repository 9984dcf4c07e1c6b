/// ai.onnx.ml, versions 1 to 5: what classic models are converted to. https://onnx.ai/onnx/operators/
enum MachineLearningOperators {
  static let domain = "ai.onnx.ml"
  static let versions = 1...5

  static let all: [ONNXOperator] =
    [
      scaler, normalizer, imputer, binarizer, oneHotEncoder, featureVectorizer, arrayFeatureExtractor, labelEncoder, categoryMapper, zipMap,
      linearRegressor, linearClassifier, svmRegressor, svmClassifier, treeEnsembleRegressor, treeEnsembleClassifier, treeEnsemble,
    ]
}
