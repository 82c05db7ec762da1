/// The one format that the generated client makes: `DateFormat('yyyy-MM-dd')`.
library;

class DateFormat {
  DateFormat(String pattern) {
    if (pattern != 'yyyy-MM-dd') {
      throw UnsupportedError('only yyyy-MM-dd, not $pattern');
    }
  }

  String format(DateTime date) => date.toIso8601String().substring(0, 10);
}
