/// The V2 inference service: names of the wire contract.
public enum V2Service {
  public static let name = "inference.GRPCInferenceService"
}
