/// Rules of the trainer that a simulation takes out one at a time, to see that it would notice. Empty
/// everywhere else.
struct TrainerMutation: OptionSet, Sendable {
  let rawValue: Int
  /// An example contributes to every shard, also to those whose progress has passed it.
  static let contributeBeforeNext = TrainerMutation(rawValue: 1 << 0)
  /// After a drop, go on from where the trainer was instead of from the replica's progress.
  static let keepNextAfterDrop = TrainerMutation(rawValue: 1 << 1)
  /// Never give up on an own record.
  static let waitForever = TrainerMutation(rawValue: 1 << 2)
  /// Read from the greatest next offset instead of the least.
  static let readFromGreatestNext = TrainerMutation(rawValue: 1 << 3)
  /// Learn every examples record, whatever ranges of features and labels it covers.
  static let learnRefusedRecords = TrainerMutation(rawValue: 1 << 4)
  /// Never cover shards that no example touches.
  static let leaveUntouchedShards = TrainerMutation(rawValue: 1 << 5)
  /// Take whatever offset comes, without asking whether records before it were missed.
  static let acceptGaps = TrainerMutation(rawValue: 1 << 6)
}
