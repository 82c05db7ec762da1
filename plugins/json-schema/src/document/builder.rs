//! Makes items of what the parser reads, and counts depth and memory on the way.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use tidegate_plugin_sdk::PluginError;

use super::{Item, Member, Members};
use crate::memory::Reservation;

/// What an allocation takes beside its bytes.
const ALLOCATION: usize = 16;
/// The digits of an index and the slash before it.
const INDEX: usize = 21;
/// From this length on, a list is taken over rather than copied.
const LONG: usize = 1024;

pub(super) enum Failure {
    TooDeep,
    Memory(PluginError),
}

pub(super) struct Builder<'d, 'm> {
    max_depth: usize,
    ledger: Ledger<'m>,
    /// The values of all lists that are open, inner ones last: so a list is as long as its values from the start.
    items: Vec<Item<'d>>,
    members: Vec<Member<'d>>,
    pub(super) longest_path: usize,
    /// What the parser's error cannot carry.
    pub(super) failure: Option<Failure>,
}

/// What of the memory is used.
struct Ledger<'m> {
    memory: &'m mut Reservation,
    used: u64,
    allowed: u64,
}

impl Ledger<'_> {
    fn charge(&mut self, bytes: usize) -> Result<(), PluginError> {
        self.used += bytes as u64;
        if self.used > self.allowed {
            // A quarter in advance, so that growing does not go to the budget for each value.
            self.memory.grow_to(self.used + self.used / 4).or_else(|_| self.memory.grow_to(self.used))?;
            self.allowed = self.memory.bytes();
        }
        Ok(())
    }

    fn push<T>(&mut self, values: &mut Vec<T>, value: T) -> Result<(), PluginError> {
        if values.len() == values.capacity() {
            let more = values.capacity().max(16);
            self.charge(more * size_of::<T>())?;
            values.reserve_exact(more);
        }
        values.push(value);
        Ok(())
    }

    /// Takes what was pushed since `start`, in exactly its size.
    fn take<T>(&mut self, values: &mut Vec<T>, start: usize) -> Result<Vec<T>, PluginError> {
        let length = values.len() - start;
        if start > 0 || length < LONG {
            self.charge(if length == 0 { 0 } else { length * size_of::<T>() + ALLOCATION })?;
            let mut taken = Vec::with_capacity(length);
            taken.extend(values.drain(start..));
            return Ok(taken);
        }
        self.used -= ((values.capacity() - length) * size_of::<T>()) as u64;
        let mut taken = std::mem::take(values);
        taken.shrink_to_fit();
        Ok(taken)
    }
}

impl<'d, 'm> Builder<'d, 'm> {
    pub(super) fn new(max_depth: usize, memory: &'m mut Reservation) -> Self {
        let allowed = memory.bytes();
        let ledger = Ledger { memory, used: 0, allowed };
        Self { max_depth, ledger, items: Vec::new(), members: Vec::new(), longest_path: 0, failure: None }
    }

    fn descend<E: Error>(&mut self, depth: usize) -> Result<(), E> {
        if depth < self.max_depth {
            return Ok(());
        }
        self.failure = Some(Failure::TooDeep);
        Err(E::custom("too deep"))
    }

    fn extend_path(&mut self, path: usize, by: usize) -> usize {
        let path = path + by;
        self.longest_path = self.longest_path.max(path);
        path
    }

    fn owned<E: Error>(&mut self, text: &str) -> Result<Cow<'d, str>, E> {
        let charged = self.ledger.charge(text.len() + ALLOCATION);
        self.paid(charged)?;
        Ok(Cow::Owned(text.to_owned()))
    }

    fn paid<T, E: Error>(&mut self, result: Result<T, PluginError>) -> Result<T, E> {
        result.map_err(|error| {
            self.failure = Some(Failure::Memory(error));
            E::custom("out of memory")
        })
    }
}

pub(super) struct ItemSeed<'b, 'd, 'm> {
    builder: &'b mut Builder<'d, 'm>,
    depth: usize,
    /// How long the pointer to this item is at most.
    path: usize,
}

impl<'b, 'd, 'm> ItemSeed<'b, 'd, 'm> {
    pub(super) fn new(builder: &'b mut Builder<'d, 'm>) -> Self {
        Self { builder, depth: 0, path: 0 }
    }
}

impl<'de> DeserializeSeed<'de> for ItemSeed<'_, 'de, '_> {
    type Value = Item<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Item<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed<'_, 'de, '_> {
    type Value = Item<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Item<'de>, E> {
        Ok(Item::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Item<'de>, E> {
        Ok(Item::Boolean(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Item<'de>, E> {
        Ok(Item::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Item<'de>, E> {
        Ok(Item::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Item<'de>, E> {
        Number::from_f64(value).map(Item::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Item<'de>, E> {
        Ok(Item::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Item<'de>, E> {
        self.builder.owned(value).map(Item::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Item<'de>, A::Error> {
        let Self { builder, depth, path } = self;
        builder.descend(depth)?;
        let path = builder.extend_path(path, INDEX);
        let start = builder.items.len();
        while let Some(item) = elements.next_element_seed(ItemSeed { builder, depth: depth + 1, path })? {
            let pushed = builder.ledger.push(&mut builder.items, item);
            builder.paid(pushed)?;
        }
        let items = builder.ledger.take(&mut builder.items, start);
        Ok(Item::Array(builder.paid(items)?.into_boxed_slice()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Item<'de>, A::Error> {
        let Self { builder, depth, path } = self;
        builder.descend(depth)?;
        let start = builder.members.len();
        while let Some(name) = members.next_key_seed(NameSeed { builder })? {
            // Each `~` and `/` in a name is two characters in a pointer.
            let path = builder.extend_path(path, 1 + 2 * name.len());
            let value = members.next_value_seed(ItemSeed { builder, depth: depth + 1, path })?;
            let pushed = builder.ledger.push(&mut builder.members, Member { name, value });
            builder.paid(pushed)?;
        }
        let members = builder.ledger.take(&mut builder.members, start);
        Ok(Item::Object(Members::new(builder.paid(members)?)))
    }
}

struct NameSeed<'b, 'd, 'm> {
    builder: &'b mut Builder<'d, 'm>,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_, 'de, '_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed<'_, 'de, '_> {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Cow<'de, str>, E> {
        self.builder.owned(value)
    }
}
