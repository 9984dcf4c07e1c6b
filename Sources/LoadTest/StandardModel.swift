public import Model
internal import Settings

/// The model that load tests use when none is given: the shape of the flights job, 13 categorical
/// and 6 numeric features.
public enum StandardModel {
  public static let yaml = """
    model: loadtest
    version: 1
    family: linear
    loss: logistic
    shards: 2
    features:
      carrier: categorical
      origin: categorical
      dest: categorical
      tailnum: categorical
      carrier_flight: categorical
      hour: categorical
      month: categorical
      origin_dest: categorical
      origin_hour: categorical
      weekday: categorical
      month_day: categorical
      month_day_origin: categorical
      month_day_hour: categorical
      temp: numeric
      humid: numeric
      wind_speed: numeric
      precip: numeric
      visib: numeric
      distance: numeric
    """

  public static func specification() throws -> ModelSpecification {
    try ModelSpecification.parse(yaml: yaml, file: "standard load test model")
  }
}
