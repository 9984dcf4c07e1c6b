/// The model of the flights demo. The same text stands in `deploy/models/flights.yaml` and in the README; a test holds them together.
public enum FlightsModel {
  public static let yaml = """
    # Will a flight arrive more than 15 minutes late? Asked an hour before departure.
    model: flights
    version: 1
    family: linear
    loss: logistic
    shards: 2

    features:
      carrier: categorical
      origin: categorical
      dest: categorical
      tailnum: categorical
      flight: categorical        # carrier and number
      hour: categorical
      month: categorical
      route: categorical         # origin and dest
      origin_hour: categorical
      weekday: categorical
      date: categorical
      date_origin: categorical
      date_hour: categorical
      temp: {type: numeric, divide: 50}
      humid: {type: numeric, divide: 100}
      wind_speed: {type: numeric, divide: 20}
      precip: {type: numeric, divide: 0.1}
      visib: {type: numeric, divide: 10}
      distance: {type: numeric, divide: 1000}

    learning: {optimizer: ftrl, alpha: 0.1, beta: 1, l1: 0, l2: 0}

    # A landing is known at the latest a day or two after its question.
    join: {window: 30d, on_expiry: drop}

    """
}
