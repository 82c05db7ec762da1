//! A document as the validator sees it, with a bound on the errors that it makes.
//!
//! The validator collects all errors before it hands out the first one, and a small document can have millions. Each error asks for the
//! value it is about, by [`Node::to_value`] and nothing else here does: that is where they are counted. When they are enough, arrays and
//! objects look empty from there on, so the validator comes to its end; what it says after that is marked, and not listed.
//!
//! Each look at a document is a step, so that a check can be halted; see [`crate::watch`].

use std::borrow::Cow;
use std::cell::Cell;

use jsonschema::json::{Array, Json, Node, NodeIdentity, Object};
use jsonschema::{JsonType, ValidationError};
use serde_json::{Number, Value};

use crate::document::order::are_unique;
use crate::document::{Item, Member, Members};
use crate::watch::{step, steps_for};

/// What stands in the place of values: whether the error was within the bound. Messages do not repeat what was sent.
static WITHIN: Value = Value::Null;
static BEYOND: Value = Value::Bool(false);

/// How many errors may still be made.
#[derive(Debug)]
pub struct Meter<'a> {
    left: Cell<usize>,
    shape: Option<Shape<'a>>,
}

/// What stands in the place of the whole document, if its places have to be found in it.
#[derive(Debug)]
struct Shape<'a> {
    document: &'a Item<'a>,
    value: Value,
}

impl<'a> Meter<'a> {
    pub fn new(errors: usize) -> Self {
        // One more than allowed shows that there are more.
        Self { left: Cell::new(errors.saturating_add(1)), shape: None }
    }

    /// The validator looks for the place of a text that is too complex for its pattern in the value of the whole document, and panics
    /// where that has none. So there is one if it takes no more than so many bytes.
    #[must_use]
    pub fn with_shape(mut self, document: &'a Item<'a>, mut bytes: usize) -> Self {
        self.shape = shape(document, &mut bytes).map(|value| Shape { document, value });
        self
    }

    pub fn is_exceeded(&self) -> bool {
        self.left.get() == 0
    }

    fn count(&'a self, item: &Item<'_>) -> &'a Value {
        self.left.set(self.left.get().saturating_sub(1));
        match &self.shape {
            _ if self.is_exceeded() => &BEYOND,
            Some(shape) if std::ptr::addr_eq(shape.document, item) => &shape.value,
            _ => &WITHIN,
        }
    }
}

/// Arrays and objects as they are in the document, without anything else.
fn shape(item: &Item<'_>, bytes: &mut usize) -> Option<Value> {
    step();
    *bytes = bytes.checked_sub(size_of::<Value>())?;
    match item {
        Item::Array(items) => items.iter().map(|item| shape(item, bytes)).collect(),
        Item::Object(members) => {
            let mut member = |member: &Member<'_>| {
                *bytes = bytes.checked_sub(2 * size_of::<String>() + member.name.len())?;
                Some((member.name.to_owned(), shape(&member.value, bytes)?))
            };
            members.as_slice().iter().map(&mut member).collect()
        }
        _ => Some(Value::Null),
    }
}

/// Whether the validator had seen the document as it is when it made this error.
pub fn is_within(error: &ValidationError<'_>) -> bool {
    **error.instance() != BEYOND
}

/// This representation of JSON.
pub struct Viewed;

#[derive(Clone, Copy)]
pub struct View<'a> {
    item: &'a Item<'a>,
    meter: &'a Meter<'a>,
}

impl<'a> View<'a> {
    pub fn new(item: &'a Item<'a>, meter: &'a Meter<'a>) -> Self {
        Self { item, meter }
    }
}

impl Json for Viewed {
    type Node<'a> = View<'a>;
    type PreparedKey = String;
    type StringBuffer = ();

    const KEYS_PER_LOOKUP: usize = 2;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(_buffer: &mut (), string: &str, then: impl FnOnce(View<'_>) -> T) -> T {
        let item = Item::Text(string);
        // The error of a name is part of one of its object, which is counted.
        let meter = Meter::new(usize::MAX);
        then(View::new(&item, &meter))
    }
}

impl<'a> Node<'a, Viewed> for View<'a> {
    type Object = ObjectView<'a>;
    type Array = ArrayView<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<ObjectView<'a>> {
        step();
        match self.item {
            Item::Object(members) => Some(ObjectView { members, meter: self.meter }),
            _ => None,
        }
    }

    fn as_array(&self) -> Option<ArrayView<'a>> {
        step();
        match self.item {
            Item::Array(items) => Some(ArrayView { items, meter: self.meter }),
            _ => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        match self.item {
            Item::Text(text) => {
                steps_for(text.len());
                Some(Cow::Borrowed(text))
            }
            _ => {
                step();
                None
            }
        }
    }

    fn as_number(&self) -> Option<&'a Number> {
        step();
        match self.item {
            Item::Number(number) => Some(number),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        step();
        match self.item {
            Item::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        step();
        matches!(self.item, Item::Null)
    }

    fn json_type(&self) -> JsonType {
        step();
        match self.item {
            Item::Null => JsonType::Null,
            Item::Boolean(_) => JsonType::Boolean,
            Item::Number(_) => JsonType::Number,
            Item::Text(_) => JsonType::String,
            Item::Array(_) => JsonType::Array,
            Item::Object(_) => JsonType::Object,
        }
    }

    fn equals_value(&self, expected: &Value) -> bool {
        step();
        self.item.equals(expected)
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Borrowed(self.meter.count(self.item))
    }

    fn identity(&self) -> Option<NodeIdentity> {
        step();
        Some(NodeIdentity::new(std::ptr::from_ref(self.item).addr()))
    }
}

pub struct ObjectView<'a> {
    members: &'a Members<'a>,
    meter: &'a Meter<'a>,
}

impl<'a> Object<'a, Viewed> for ObjectView<'a> {
    type Node = View<'a>;
    type MemberName = &'a str;
    type MembersIter = MembersView<'a>;

    fn len(&self) -> usize {
        self.members.as_slice().len()
    }

    fn get(&self, key: &String) -> Option<View<'a>> {
        step();
        self.members.get(key).map(|item| View::new(item, self.meter))
    }

    fn members(&self) -> MembersView<'a> {
        steps_for(self.members.as_slice().len());
        MembersView { members: self.members.as_slice().iter(), meter: self.meter }
    }
}

pub struct MembersView<'a> {
    members: std::slice::Iter<'a, Member<'a>>,
    meter: &'a Meter<'a>,
}

impl<'a> Iterator for MembersView<'a> {
    type Item = (&'a str, View<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.meter.is_exceeded() {
            return None;
        }
        self.members.next().map(|member| (member.name, View::new(&member.value, self.meter)))
    }
}

pub struct ArrayView<'a> {
    items: &'a [Item<'a>],
    meter: &'a Meter<'a>,
}

impl<'a> Array<'a, Viewed> for ArrayView<'a> {
    type Node = View<'a>;
    type ElementsIter = ElementsView<'a>;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn elements(&self) -> ElementsView<'a> {
        steps_for(self.items.len());
        ElementsView { items: self.items.iter(), meter: self.meter }
    }

    fn is_unique(&self) -> bool {
        are_unique(self.items)
    }
}

pub struct ElementsView<'a> {
    items: std::slice::Iter<'a, Item<'a>>,
    meter: &'a Meter<'a>,
}

impl<'a> Iterator for ElementsView<'a> {
    type Item = View<'a>;

    fn next(&mut self) -> Option<View<'a>> {
        if self.meter.is_exceeded() {
            return None;
        }
        self.items.next().map(|item| View::new(item, self.meter))
    }
}
