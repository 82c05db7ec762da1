//! The subschemas that a schema is made of, its own and those that it refers to, and how a value passes on from each: as it is, or what is
//! in it. The bounds on that, in [`super::cycles`] and [`super::stack`], are taken from here.

use std::collections::{HashMap, HashSet};

use jsonschema::Draft;
use referencing::Resolver;
use serde_json::Value;

/// What stands under these applies to nothing until something refers to it.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// Each subschema once, the whole schema first. A number is the position of one.
pub struct Places<'r>(Vec<Place<'r>>);

pub struct Place<'r> {
    /// Where the same value goes, with the reference that leads there if it is one.
    pub same: Vec<(usize, Option<&'r str>)>,
    /// Where what is in the value goes.
    pub inner: Vec<usize>,
}

impl<'r> Places<'r> {
    pub fn of(root: &'r Value, draft: Draft, resolver: &Resolver<'r>) -> Self {
        let mut known = Known::default();
        known.number(Subschema::new(root, draft, resolver));
        let mut places = Vec::new();
        let mut dynamic = Vec::new();
        while let Some(subschema) = known.subschemas.get(places.len()).cloned() {
            let mut same = Vec::new();
            for Target { reference, subschema, is_dynamic } in subschema.targets() {
                let anchor = subschema.anchor().filter(|_| is_dynamic);
                dynamic.extend(anchor.map(|anchor| (places.len(), reference, anchor)));
                same.push((known.number(subschema), Some(reference)));
            }
            same.extend(subschema.applied().into_iter().map(|applied| (known.number(applied), None)));
            for definition in subschema.definitions() {
                // It may be wrong although nothing refers to it.
                known.number(definition);
            }
            let inner = subschema.inner().into_iter().map(|inner| known.number(inner)).collect();
            places.push(Place { same, inner });
        }
        // Which of those with an anchor it is depends on the way that led there. So it may be any.
        for (place, reference, anchor) in dynamic {
            let targets =
                (0..known.subschemas.len()).filter(|number| known.subschemas[*number].anchor() == Some(anchor));
            places[place].same.extend(targets.map(|target| (target, Some(reference))));
        }
        Self(places)
    }

    pub fn as_slice(&self) -> &[Place<'r>] {
        &self.0
    }
}

#[derive(Default)]
struct Known<'r> {
    subschemas: Vec<Subschema<'r>>,
    /// Schemas do not move while they are looked through, so an address tells them apart.
    numbers: HashMap<usize, usize>,
}

impl<'r> Known<'r> {
    fn number(&mut self, subschema: Subschema<'r>) -> usize {
        *self.numbers.entry(subschema.address()).or_insert_with(|| {
            self.subschemas.push(subschema);
            self.subschemas.len() - 1
        })
    }
}

/// What dynamic references are resolved by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Anchor<'r> {
    /// `$dynamicAnchor`
    Named(&'r str),
    /// `$recursiveAnchor`
    Recursive,
}

/// Where a reference leads as it stands.
struct Target<'r> {
    reference: &'r str,
    subschema: Subschema<'r>,
    /// Whether it may lead to another with the same anchor.
    is_dynamic: bool,
}

/// A subschema with what its references count from.
#[derive(Clone)]
struct Subschema<'r> {
    contents: &'r Value,
    draft: Draft,
    resolver: Resolver<'r>,
}

impl<'r> Subschema<'r> {
    fn new(contents: &'r Value, draft: Draft, outer: &Resolver<'r>) -> Self {
        let draft = draft.detect(contents);
        // An `$id` that is wrong is the compiler's business.
        let resolver = outer.in_subresource(draft.create_resource_ref(contents)).unwrap_or_else(|_| outer.clone());
        Self { contents, draft, resolver }
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self.contents).addr()
    }

    fn anchor(&self) -> Option<Anchor<'r>> {
        match self.draft {
            Draft::Draft4 | Draft::Draft6 | Draft::Draft7 => None,
            Draft::Draft201909 => {
                let is_set = self.contents.get("$recursiveAnchor").and_then(Value::as_bool);
                is_set.filter(|is_set| *is_set).map(|_| Anchor::Recursive)
            }
            _ => self.contents.get("$dynamicAnchor").and_then(Value::as_str).map(Anchor::Named),
        }
    }

    /// Where its references lead. That one leads nowhere is for the compiler to say.
    fn targets(&self) -> Vec<Target<'r>> {
        let keywords = match self.draft {
            Draft::Draft4 | Draft::Draft6 | Draft::Draft7 => &["$ref"][..],
            Draft::Draft201909 => &["$ref", "$recursiveRef"],
            _ => &["$ref", "$dynamicRef"],
        };
        let target = |keyword: &&str| {
            let reference = self.contents.get(keyword)?.as_str()?;
            let (contents, resolver, draft) = self.resolver.lookup(reference).ok()?.into_inner();
            let subschema = Self { contents, draft, resolver };
            Some(Target { reference, subschema, is_dynamic: *keyword != "$ref" })
        };
        keywords.iter().filter_map(target).collect()
    }

    /// Drafts up to 7 look at nothing beside a `$ref`.
    fn is_only_reference(&self) -> bool {
        self.draft <= Draft::Draft7 && self.contents.get("$ref").is_some_and(Value::is_string)
    }

    /// The subschemas for the same value.
    fn applied(&self) -> Vec<Self> {
        let mut single = vec!["not"];
        let mut tables = vec!["dependencies"];
        if self.draft >= Draft::Draft7 {
            single.extend(["if", "then", "else"]);
        }
        if self.draft >= Draft::Draft201909 {
            tables.push("dependentSchemas");
        }
        self.under(&single, &["allOf", "anyOf", "oneOf"], &tables)
    }

    fn definitions(&self) -> Vec<Self> {
        self.under(&[], &[], &DEFINITIONS)
    }

    /// The subschemas for what is in the value.
    fn inner(&self) -> Vec<Self> {
        if self.is_only_reference() {
            return Vec::new();
        }
        let mut others = self.applied();
        others.extend(self.definitions());
        let others: HashSet<_> = others.iter().map(Self::address).collect();
        let all = self.draft.subresources_of(self.contents).filter(|schema| schema.is_object());
        all.map(|schema| Self::new(schema, self.draft, &self.resolver))
            .filter(|subschema| !others.contains(&subschema.address()))
            .collect()
    }

    fn under(&self, single: &[&str], lists: &[&str], tables: &[&str]) -> Vec<Self> {
        if self.is_only_reference() {
            return Vec::new();
        }
        let tables =
            tables.iter().filter_map(|name| self.contents.get(name)?.as_object()).flat_map(|table| table.values());
        let lists = lists.iter().filter_map(|name| self.contents.get(name)?.as_array()).flatten();
        let single = single.iter().filter_map(|name| self.contents.get(name));
        let schemas = single.chain(lists).chain(tables).filter(|schema| schema.is_object());
        schemas.map(|schema| Self::new(schema, self.draft, &self.resolver)).collect()
    }
}
