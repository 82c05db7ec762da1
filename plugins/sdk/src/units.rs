//! Durations and sizes as people write them in the configuration: text with a unit, `"5s"` or `"64 MiB"`; the gateway's own sections and
//! the options of plugins are alike. A bare number is refused, for nobody can tell from `60` whether it says seconds or milliseconds.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration of more than nothing, as `"500ms"`, `"10s"`, `"1h 30m"`, `"30d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

/// A number of bytes of more than nothing, as `"100 GiB"` (1024s) or `"5 MB"` (1000s).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("`{0}` has no unit: write `{0}s` for seconds; there are ms, s, m, h and d")]
    PeriodWithoutUnit(String),
    #[error("`{0}` is no duration: write a number and a unit, as \"500ms\", \"10s\", \"5m\", \"24h\" or \"30d\"")]
    NoPeriod(String),
    #[error("`{0}` has no unit: write `{0} B` for bytes; there are B, kB, MB, GB, TB and KiB, MiB, GiB, TiB")]
    SizeWithoutUnit(String),
    #[error("`{0}` is no size: write a number and a unit, as \"64 KiB\", \"5 MB\" or \"100 GiB\"")]
    NoSize(String),
    #[error("`{0}` is nothing: it must be more than zero")]
    Zero(String),
}

impl Period {
    pub const fn of(duration: Duration) -> Self {
        Self(duration)
    }

    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl Deref for Period {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if is_bare_number(text) {
            return Err(UnitError::PeriodWithoutUnit(text.trim().to_owned()));
        }
        let duration = humantime::parse_duration(text.trim()).map_err(|_| UnitError::NoPeriod(text.to_owned()))?;
        if duration.is_zero() {
            return Err(UnitError::Zero(text.to_owned()));
        }
        Ok(Self(duration))
    }
}

/// In the largest unit that leaves no rest.
impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 6] = [
            (86_400_000_000_000, "d"),
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
        ];
        let nanoseconds = self.0.as_nanos();
        let (length, unit) =
            UNITS.into_iter().find(|(length, _)| nanoseconds.is_multiple_of(*length)).unwrap_or((1, "ns"));
        write!(formatter, "{}{unit}", nanoseconds / length)
    }
}

/// Units of size by their lower-case names; `b`, `kb` and so on are taken in any case.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

impl ByteSize {
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if is_bare_number(text) {
            return Err(UnitError::SizeWithoutUnit(text.trim().to_owned()));
        }
        let no_size = || UnitError::NoSize(text.to_owned());
        let trimmed = text.trim();
        let number_end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(no_size)?;
        let (number, unit) = trimmed.split_at(number_end);
        let unit = unit.trim_start().to_ascii_lowercase();
        let scale = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(no_size)?.1;
        let bytes = scaled(number, scale).ok_or_else(no_size)?;
        if bytes == 0 {
            return Err(UnitError::Zero(text.to_owned()));
        }
        Ok(Self(bytes))
    }
}

/// `number` is decimal, as `1.5`; a fraction of a byte is dropped.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let of = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction = u64::try_from(fraction.parse::<u128>().ok()? * u128::from(scale) / of).ok()?;
    whole.checked_add(fraction)
}

/// In the largest unit that leaves no rest, of 1024s before 1000s.
impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 8] = [
            (1 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
            (1_000_000_000_000, "TB"),
            (1_000_000_000, "GB"),
            (1_000_000, "MB"),
            (1_000, "kB"),
        ];
        let (scale, unit) = UNITS.into_iter().find(|(scale, _)| self.0.is_multiple_of(*scale)).unwrap_or((1, "B"));
        write!(formatter, "{} {unit}", self.0 / scale)
    }
}

fn is_bare_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok()
}

/// Takes text in the way of `FromStr`, and numbers too, only to say what is wrong with them.
struct UnitVisitor<T> {
    expecting: &'static str,
    without_unit: fn(String) -> UnitError,
    parsed: std::marker::PhantomData<T>,
}

impl<T: FromStr<Err = UnitError>> de::Visitor<'_> for UnitVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        Err(E::custom((self.without_unit)(number.to_string())))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        Err(E::custom((self.without_unit)(number.to_string())))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        Err(E::custom((self.without_unit)(number.to_string())))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnitVisitor {
            expecting: "a duration, as \"10s\"",
            without_unit: UnitError::PeriodWithoutUnit,
            parsed: std::marker::PhantomData,
        })
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnitVisitor {
            expecting: "a size, as \"64 MiB\"",
            without_unit: UnitError::SizeWithoutUnit,
            parsed: std::marker::PhantomData,
        })
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration: numbers with units, as \"500ms\", \"10s\", \"1h 30m\" or \"30d\".",
            "pattern": "^ *([0-9]+ *[a-zA-Z]+ *)+$",
        })
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A number of bytes with its unit, as \"64 KiB\" (1024s) or \"5 MB\" (1000s).",
            "pattern": "^ *[0-9]+(\\.[0-9]+)? *([kKmMgGtT][iI]?)?[bB] *$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_with_units() {
        for (text, seconds) in [("5s", 5), ("24h", 86_400), ("30d", 2_592_000), ("1h 30m", 5_400), (" 2 m ", 120)] {
            assert_eq!(text.parse::<Period>().unwrap(), Period::seconds(seconds), "{text}");
        }
        assert_eq!("250ms".parse::<Period>().unwrap(), Period::of(Duration::from_millis(250)));
    }

    #[test]
    fn reads_sizes_with_units() {
        for (text, bytes) in [
            ("7 B", 7),
            ("64 MiB", 64 << 20),
            ("64MiB", 64 << 20),
            ("100 GiB", 100 << 30),
            ("5 kB", 5_000),
            ("5 MB", 5_000_000),
            ("1.5 KiB", 1536),
            ("0.5 kB", 500),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap().get(), bytes, "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_told_to_take_a_unit() {
        assert_eq!("60".parse::<Period>(), Err(UnitError::PeriodWithoutUnit("60".to_owned())));
        assert_eq!("1048576".parse::<ByteSize>(), Err(UnitError::SizeWithoutUnit("1048576".to_owned())));
        let error = serde_json::from_str::<Period>("60").unwrap_err().to_string();
        assert!(error.contains("write `60s`"), "{error}");
        let error = serde_json::from_str::<ByteSize>("1024").unwrap_err().to_string();
        assert!(error.contains("write `1024 B`"), "{error}");
    }

    #[test]
    fn refuses_what_is_neither() {
        for text in ["", "s", "5 parsecs", "-5s", "0s"] {
            assert!(text.parse::<Period>().is_err(), "{text:?}");
        }
        for text in ["", "MiB", "5 lumps", "-1 B", "0 B", "1. B", "1.2.3 B", "99999999999 TiB", "16777216 TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        for text in ["500ms", "90s", "24h", "36h", "30d", "75s"] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.to_string().parse::<Period>().unwrap(), period);
        }
        for text in ["1 B", "1000 B", "1536 B", "32 MiB", "5 MB", "100 GiB", "123457 B"] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }
        assert_eq!(Period::seconds(86_400).to_string(), "1d");
        assert_eq!(ByteSize::gib(100).to_string(), "100 GiB");
    }
}
