//! Times as clients in the field read them (a leaf).

use jiff::Timestamp;

/// RFC 3339 in UTC, with `+00:00` and three decimals: older Pythons and Dart read that, and they do not all read `Z`.
pub fn rfc_3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_with_three_decimals() {
        for (text, told) in [
            ("2026-11-20T20:04:12.3456789+01:00", "2026-11-20T19:04:12.345+00:00"),
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000+00:00"),
        ] {
            assert_eq!(rfc_3339(text.parse().unwrap()), told);
        }
    }
}
