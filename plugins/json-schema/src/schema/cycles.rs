//! References that lead back to themselves without going into the value. What they ask of a value is nothing, or never ends: a mistake of
//! whoever wrote the schema, that the compiler passes in silence.

use std::collections::HashSet;

use jsonschema::Draft;
use referencing::Resolver;
use serde_json::Value;

/// The subschemas under these apply to the same value as their parent.
const SINGLE: [&str; 4] = ["not", "if", "then", "else"];
const LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const TABLES: [&str; 2] = ["dependentSchemas", "dependencies"];

/// A subschema with what its references count from. Schemas do not move while they are looked through, so an address tells them apart.
#[derive(Clone)]
struct Place<'r> {
    schema: &'r Value,
    draft: Draft,
    resolver: Resolver<'r>,
}

impl<'r> Place<'r> {
    fn new(schema: &'r Value, draft: Draft, outer: &Resolver<'r>) -> Self {
        // An `$id` that is wrong is the compiler's business.
        let resolver = outer.in_subresource(draft.create_resource_ref(schema)).unwrap_or_else(|_| outer.clone());
        Self { schema, draft, resolver }
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self.schema).addr()
    }

    fn inner(&self, schema: &'r Value) -> Self {
        Self::new(schema, self.draft, &self.resolver)
    }

    /// Where its `$ref` leads. That it leads nowhere is for the compiler to say.
    fn target(&self) -> Option<(&'r str, Self)> {
        let reference = self.schema.get("$ref")?.as_str()?;
        let (schema, resolver, draft) = self.resolver.lookup(reference).ok()?.into_inner();
        Some((reference, Self { schema, draft, resolver }))
    }

    /// The subschemas for the same value.
    fn applied(&self) -> Vec<Self> {
        let tables =
            TABLES.iter().filter_map(|name| self.schema.get(name)?.as_object()).flat_map(|table| table.values());
        let lists = LISTS.iter().filter_map(|name| self.schema.get(name)?.as_array()).flatten();
        let single = SINGLE.iter().filter_map(|name| self.schema.get(name));
        single.chain(lists).chain(tables).filter(|schema| schema.is_object()).map(|schema| self.inner(schema)).collect()
    }
}

enum Step<'r> {
    Enter(Place<'r>),
    Leave(usize),
}

/// A reference of the schema, or of those that it refers to, that leads back to where it stands.
pub fn endless_reference<'r>(root: &'r Value, draft: Draft, resolver: Resolver<'r>) -> Option<&'r str> {
    let mut known = HashSet::new();
    let mut done = HashSet::new();
    let mut waiting = vec![Place::new(root, draft, &resolver)];
    while let Some(place) = waiting.pop() {
        if !known.insert(place.address()) {
            continue;
        }
        if let Some(reference) = endless_from(&place, &mut done) {
            return Some(reference);
        }
        waiting.extend(place.draft.subresources_of(place.schema).map(|schema| place.inner(schema)));
        waiting.extend(place.target().map(|(_, target)| target));
    }
    None
}

/// Goes along references and subschemas for the same value, in depth; a place that is come to again before it is left is on a way
/// without end.
fn endless_from<'r>(start: &Place<'r>, done: &mut HashSet<usize>) -> Option<&'r str> {
    let mut open = HashSet::new();
    let mut last_reference = "";
    let mut steps = vec![Step::Enter(start.clone())];
    while let Some(step) = steps.pop() {
        let place = match step {
            Step::Leave(address) => {
                open.remove(&address);
                done.insert(address);
                continue;
            }
            Step::Enter(place) => place,
        };
        if open.contains(&place.address()) {
            return Some(last_reference);
        }
        if done.contains(&place.address()) {
            continue;
        }
        open.insert(place.address());
        steps.push(Step::Leave(place.address()));
        steps.extend(place.applied().into_iter().map(Step::Enter));
        if let Some((reference, target)) = place.target() {
            last_reference = reference;
            steps.push(Step::Enter(target));
        }
    }
    None
}
