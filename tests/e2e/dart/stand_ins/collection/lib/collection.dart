/// Equality of lists and maps by what they hold.
library;

class DeepCollectionEquality {
  const DeepCollectionEquality();

  bool equals(Object? one, Object? other) => switch ((one, other)) {
        (List a, List b) => a.length == b.length && Iterable<int>.generate(a.length).every((i) => equals(a[i], b[i])),
        (Map a, Map b) => a.length == b.length && a.keys.every((key) => b.containsKey(key) && equals(a[key], b[key])),
        _ => one == other,
      };

  int hash(Object? value) => switch (value) {
        List list => Object.hashAll(list.map(hash)),
        Map map => Object.hashAllUnordered(map.entries.map((entry) => Object.hash(hash(entry.key), hash(entry.value)))),
        _ => value.hashCode,
      };
}
