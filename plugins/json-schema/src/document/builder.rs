//! Makes items of what the parser reads, and counts depth and memory on the way.

use std::fmt;

use bumpalo::Bump;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use tidegate_plugin_sdk::PluginError;

use super::{Item, Member, Members};
use crate::memory::Reservation;
use crate::watch::step;

/// The digits of an index and the slash before it.
const INDEX: usize = 21;
/// Between what lies in a block.
const ALIGNMENT: usize = align_of::<Item<'_>>();
/// By so much a block of the arena may be longer than was asked for, in bytes.
const ROUNDING: usize = 8192;
/// From this length on, lists grow by half of it.
const LONG: usize = 4096;
/// So many values are a step.
const PUSHES: usize = 64;

pub(super) enum Failure {
    TooDeep,
    Memory(PluginError),
}

pub(super) struct Builder<'d, 'm> {
    max_depth: usize,
    ledger: Ledger<'d, 'm>,
    /// The values of all lists that are open, inner ones last: so a list is as long as its values from the start.
    items: Vec<Item<'d>>,
    members: Vec<Member<'d>>,
    pub(super) longest_path: usize,
    /// What the parser's error cannot carry.
    pub(super) failure: Option<Failure>,
}

/// Where the document lies, and what of the memory is used.
struct Ledger<'d, 'm> {
    arena: &'d Bump,
    memory: &'m mut Reservation,
    /// The arena's longest block.
    block: usize,
    /// By the open lists.
    open: usize,
    allowed: usize,
}

impl<'d> Ledger<'d, '_> {
    /// Whether `more` may be used beside what is.
    fn charge(&mut self, more: usize) -> Result<(), PluginError> {
        let used = self.arena.allocated_bytes() + self.open + more;
        if used > self.allowed {
            // A quarter in advance, so that growing does not go to the budget for each value.
            let bytes = used as u64;
            self.memory.grow_to(bytes + bytes / 4).or_else(|_| self.memory.grow_to(bytes))?;
            self.allowed = usize::try_from(self.memory.bytes()).unwrap_or(usize::MAX);
        }
        Ok(())
    }

    /// Puts so many bytes into the arena. What does not fit goes to a new block, as long as that or twice the last one.
    fn place<T>(&mut self, bytes: usize, place: impl FnOnce(&'d Bump) -> T) -> Result<T, PluginError> {
        if bytes + ALIGNMENT <= self.arena.chunk_capacity() {
            return Ok(place(self.arena));
        }
        self.charge(bytes.max(2 * self.block) + ROUNDING)?;
        let before = self.arena.allocated_bytes();
        let placed = place(self.arena);
        self.block = self.block.max(self.arena.allocated_bytes() - before);
        Ok(placed)
    }

    fn push<T>(&mut self, values: &mut Vec<T>, value: T) -> Result<(), PluginError> {
        if values.len().is_multiple_of(PUSHES) {
            step();
        }
        if values.len() == values.capacity() {
            let more = if values.len() < LONG { values.len().max(16) } else { values.len() / 2 };
            let bytes = more * size_of::<T>();
            self.charge(bytes)?;
            values.reserve_exact(more);
            self.open += bytes;
        }
        values.push(value);
        Ok(())
    }

    /// Takes what was pushed since `start`.
    fn take<T>(&mut self, values: &mut Vec<T>, start: usize) -> Result<&'d [T], PluginError> {
        let bytes = (values.len() - start) * size_of::<T>();
        self.place(bytes, |arena| &*arena.alloc_slice_fill_iter(values.drain(start..)))
    }

    fn text(&mut self, text: &str) -> Result<&'d str, PluginError> {
        self.place(text.len(), |arena| &*arena.alloc_str(text))
    }
}

impl<'d, 'm> Builder<'d, 'm> {
    pub(super) fn new(arena: &'d Bump, max_depth: usize, memory: &'m mut Reservation) -> Self {
        let allowed = usize::try_from(memory.bytes()).unwrap_or(usize::MAX);
        let ledger = Ledger { arena, memory, block: arena.allocated_bytes(), open: 0, allowed };
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

    /// A text that is not as it stands in the document.
    fn unescaped<E: Error>(&mut self, text: &str) -> Result<&'d str, E> {
        let text = self.ledger.text(text);
        self.paid(text)
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
        Ok(Item::Text(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Item<'de>, E> {
        self.builder.unescaped(value).map(Item::Text)
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
        Ok(Item::Array(builder.paid(items)?))
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
        Members::settle(&mut builder.members, start);
        let members = builder.ledger.take(&mut builder.members, start);
        Ok(Item::Object(Members(builder.paid(members)?)))
    }
}

struct NameSeed<'b, 'd, 'm> {
    builder: &'b mut Builder<'d, 'm>,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_, 'de, '_> {
    type Value = &'de str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'de str, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed<'_, 'de, '_> {
    type Value = &'de str;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<&'de str, E> {
        Ok(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<&'de str, E> {
        self.builder.unescaped(value)
    }
}
