/// The candidate nearest to `word`, if it is near enough to be what was meant (a third of its letters may differ).
public func nearest(to word: String, in candidates: [String]) -> String? {
  guard word.count <= 100 else { return nil }
  let best = candidates.map { ($0, distance(normalized(word), normalized($0))) }.min { $0.1 < $1.1 }
  guard let best, best.1 <= max(1, min(word.count, best.0.count) / 3) else { return nil }
  return best.0
}

func listed(_ words: [String]) -> String { words.joined(separator: ", ") }

/// "a, b or c".
func alternatives(_ words: [String]) -> String {
  guard words.count > 1, let last = words.last else { return words.first ?? "nothing" }
  return words.dropLast().joined(separator: ", ") + " or " + last
}

/// Letter case, hyphens and underscores are the usual differences.
private func normalized(_ word: String) -> [Character] { word.lowercased().filter { $0 != "_" && $0 != "-" }.map { $0 } }

/// Edits (insert, delete, replace, swap of neighbours) between two words.
private func distance(_ a: [Character], _ b: [Character]) -> Int {
  if a.isEmpty || b.isEmpty { return max(a.count, b.count) }
  var beforeLast = [Int](repeating: 0, count: b.count + 1)
  var last = Array(0...b.count)
  for i in 1...a.count {
    var row = [i] + [Int](repeating: 0, count: b.count)
    for j in 1...b.count {
      row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
      if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { row[j] = min(row[j], beforeLast[j - 2] + 1) }
    }
    beforeLast = last
    last = row
  }
  return last[b.count]
}
