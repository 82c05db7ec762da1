//! When two items are equal in JSON Schema's sense (`1` and `1.0` are, and the order of members is nothing), and an order that agrees,
//! so that a long array is known to be unique without comparing each pair.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::{Item, Member, Members};
use crate::watch::step;

impl Item<'_> {
    fn rank(&self) -> u8 {
        match self {
            Item::Null => 0,
            Item::Boolean(_) => 1,
            Item::Number(_) => 2,
            Item::Text(_) => 3,
            Item::Array(_) => 4,
            Item::Object(_) => 5,
        }
    }

    pub fn order(&self, other: &Item<'_>) -> Ordering {
        step();
        match (self, other) {
            (Item::Boolean(one), Item::Boolean(other)) => one.cmp(other),
            (Item::Number(one), Item::Number(other)) => order_of_numbers(one, other),
            (Item::Text(one), Item::Text(other)) => one.cmp(other),
            (Item::Array(one), Item::Array(other)) => {
                let pairs = one.iter().zip(other.iter());
                first_difference(pairs.map(|(one, other)| one.order(other))).then(one.len().cmp(&other.len()))
            }
            (Item::Object(one), Item::Object(other)) => order_of_members(one, other),
            (one, other) => one.rank().cmp(&other.rank()),
        }
    }

    pub fn equals(&self, expected: &Value) -> bool {
        match (self, expected) {
            (Item::Null, Value::Null) => true,
            (Item::Boolean(one), Value::Bool(other)) => one == other,
            (Item::Number(one), Value::Number(other)) => order_of_numbers(one, other).is_eq(),
            (Item::Text(one), Value::String(other)) => one == other,
            (Item::Array(one), Value::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.equals(other))
            }
            (Item::Object(one), Value::Object(other)) => {
                let equal =
                    |member: &Member<'_>| other.get(member.name).is_some_and(|other| member.value.equals(other));
                one.as_slice().len() == other.len() && one.as_slice().iter().all(equal)
            }
            _ => false,
        }
    }
}

/// Whether no item stands twice.
pub fn are_unique(items: &[Item<'_>]) -> bool {
    let mut sorted: Vec<&Item<'_>> = items.iter().collect();
    sorted.sort_unstable_by(|one, other| one.order(other));
    sorted.windows(2).all(|pair| pair[0].order(pair[1]).is_ne())
}

fn first_difference(orders: impl Iterator<Item = Ordering>) -> Ordering {
    orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn order_of_members(one: &Members<'_>, other: &Members<'_>) -> Ordering {
    let (one, other) = (by_name(one), by_name(other));
    let pairs = one.iter().zip(&other);
    let differences = pairs.map(|(one, other)| one.name.cmp(other.name).then_with(|| one.value.order(&other.value)));
    first_difference(differences).then(one.len().cmp(&other.len()))
}

fn by_name<'a, 'd>(members: &'a Members<'d>) -> Vec<&'a Member<'d>> {
    let mut members: Vec<_> = members.as_slice().iter().collect();
    members.sort_unstable_by(|one, other| one.name.cmp(other.name));
    members
}

/// The order of the numbers themselves, whatever they are kept in.
fn order_of_numbers(one: &Number, other: &Number) -> Ordering {
    let (one, other) = (Parts::of(one), Parts::of(other));
    one.whole.cmp(&other.whole).then(one.rest.total_cmp(&other.rest))
}

struct Parts {
    whole: i128,
    /// The fraction; where the number is too large for `whole`, the number.
    rest: f64,
}

impl Parts {
    fn of(number: &Number) -> Self {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        if let Some(whole) = whole {
            return Self { whole, rest: 0.0 };
        }
        let value = number.as_f64().unwrap_or_default();
        // Casts saturate, so numbers too large are told apart by `rest`.
        let whole = value.floor() as i128;
        let rest = if whole == i128::MAX || whole == i128::MIN { value } else { value - value.floor() };
        Self { whole, rest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use crate::memory::Budget;
    use tidegate_plugin_sdk::units::ByteSize;

    fn with<T>(text: &str, then: impl FnOnce(&Item<'_>) -> T) -> T {
        let mut memory = Budget::apart(ByteSize::mib(1)).reserve_for(100).unwrap();
        then(&Document::parse(text, &Document::arena(text.len()), 9, &mut memory).unwrap().root)
    }

    #[test]
    fn equality_is_that_of_json_schema() {
        for (one, other, equal) in [
            ("1", "1.0", true),
            ("-0.0", "0", true),
            ("1", "1.5", false),
            ("9007199254740993", "9007199254740992.0", false),
            ("18446744073709551615", "18446744073709551614", false),
            ("1e300", "1e300", true),
            ("1e300", "1e301", false),
            ("-1e300", "1e300", false),
            ("1", "true", false),
            ("null", "false", false),
            ("[1, 2]", "[1.0, 2]", true),
            ("[1, 2]", "[1]", false),
            (r#"{"a": 1, "b": [2]}"#, r#"{"b": [2], "a": 1.0}"#, true),
            (r#"{"a": 1}"#, r#"{"a": 1, "b": 1}"#, false),
            (r#"{"a": 1}"#, r#"{"b": 1}"#, false),
        ] {
            let value: Value = serde_json::from_str(other).unwrap();
            with(one, |item| {
                assert_eq!(item.equals(&value), equal, "{one} and {other}");
                with(other, |second| assert_eq!(item.order(second).is_eq(), equal, "{one} and {other}"));
            });
        }
    }

    #[test]
    fn an_array_is_unique_if_no_two_are_equal() {
        for (text, unique) in [
            ("[]", true),
            ("[1, 2, 3, \"1\", true, null, [], {}]", true),
            ("[1, 2, 1.0]", false),
            ("[{\"a\": 1, \"b\": 2}, 7, {\"b\": 2, \"a\": 1}]", false),
        ] {
            with(text, |item| {
                let Item::Array(items) = item else { panic!("no array") };
                assert_eq!(are_unique(items), unique, "{text}");
            });
        }
    }
}
