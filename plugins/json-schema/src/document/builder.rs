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

pub(super) enum Failure {
    TooDeep,
    Memory(PluginError),
}

pub(super) struct Builder<'m> {
    max_depth: usize,
    memory: &'m mut Reservation,
    used: u64,
    allowed: u64,
    pub(super) longest_path: usize,
    /// What the parser's error cannot carry.
    pub(super) failure: Option<Failure>,
}

impl<'m> Builder<'m> {
    pub(super) fn new(max_depth: usize, memory: &'m mut Reservation) -> Self {
        let allowed = memory.bytes();
        Self { max_depth, memory, used: 0, allowed, longest_path: 0, failure: None }
    }

    fn charge<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.used += bytes as u64;
        if self.used <= self.allowed {
            return Ok(());
        }
        // A quarter in advance, so that growing does not go to the budget for each value.
        match self.memory.grow_to(self.used + self.used / 4).or_else(|_| self.memory.grow_to(self.used)) {
            Ok(()) => {
                self.allowed = self.memory.bytes();
                Ok(())
            }
            Err(error) => {
                self.failure = Some(Failure::Memory(error));
                Err(E::custom("out of memory"))
            }
        }
    }

    /// Pushes, and counts what the vector takes from then on.
    fn push<T, E: Error>(&mut self, values: &mut Vec<T>, value: T) -> Result<(), E> {
        if values.len() == values.capacity() {
            let before = values.capacity();
            let more = before.max(4);
            self.charge(more * size_of::<T>() + if before == 0 { ALLOCATION } else { 0 })?;
            values.reserve_exact(more);
        }
        values.push(value);
        Ok(())
    }

    /// What is not used goes back.
    fn shrunk<T>(&mut self, values: &Vec<T>) {
        self.used -= ((values.capacity() - values.len()) * size_of::<T>()) as u64;
    }

    fn descend<E: Error>(&mut self, depth: usize) -> Result<(), E> {
        if depth < self.max_depth {
            return Ok(());
        }
        self.failure = Some(Failure::TooDeep);
        Err(E::custom("too deep"))
    }
}

pub(super) struct ItemSeed<'b, 'm> {
    builder: &'b mut Builder<'m>,
    depth: usize,
    /// How long the pointer to this item is at most.
    path: usize,
}

impl<'b, 'm> ItemSeed<'b, 'm> {
    pub(super) fn new(builder: &'b mut Builder<'m>) -> Self {
        Self { builder, depth: 0, path: 0 }
    }
}

impl<'de> DeserializeSeed<'de> for ItemSeed<'_, '_> {
    type Value = Item<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Item<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed<'_, '_> {
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
        self.builder.charge(value.len() + ALLOCATION)?;
        Ok(Item::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Item<'de>, A::Error> {
        let Self { builder, depth, path } = self;
        builder.descend(depth)?;
        let path = path + INDEX;
        builder.longest_path = builder.longest_path.max(path);
        let mut items = Vec::new();
        while let Some(item) = elements.next_element_seed(ItemSeed { builder, depth: depth + 1, path })? {
            builder.push(&mut items, item)?;
        }
        builder.shrunk(&items);
        Ok(Item::Array(items.into_boxed_slice()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Item<'de>, A::Error> {
        let Self { builder, depth, path } = self;
        builder.descend(depth)?;
        let mut list = Vec::new();
        while let Some(name) = members.next_key_seed(NameSeed { builder })? {
            // Each `~` and `/` in a name is two characters in a pointer.
            let path = path + 1 + 2 * name.len();
            builder.longest_path = builder.longest_path.max(path);
            let value = members.next_value_seed(ItemSeed { builder, depth: depth + 1, path })?;
            builder.push(&mut list, Member { name, value })?;
        }
        builder.shrunk(&list);
        Ok(Item::Object(Members::new(list)))
    }
}

struct NameSeed<'b, 'm> {
    builder: &'b mut Builder<'m>,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_, '_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed<'_, '_> {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Cow<'de, str>, E> {
        self.builder.charge(value.len() + ALLOCATION)?;
        Ok(Cow::Owned(value.to_owned()))
    }
}
