//! How much of a thread's stack a check takes. The validator is recursive: it goes from a subschema to the next, for the same value and for
//! what is in it. So what counts is the longest way through the schema on which a document of the allowed depth can lead it.

use std::io;
use std::panic::resume_unwind;
use std::thread::{self, Builder};

use super::places::Places;

/// What one step of the way takes, in bytes: at least twice what the test below measures, in a build that is optimised and in one that is not.
const STEP: usize = if cfg!(debug_assertions) { 4096 } else { 1024 };
/// What a check takes beside that, to parse, compare and match.
const REST: usize = 512 << 10;
/// So much of its stack, of 2 MiB, any thread of the runtime has left when a check begins.
const ORDINARY: usize = 3 << 19;
/// The most subschemas that one value passes. Its compiler goes such a way, too, and at the greatest depth it takes 130 MiB of a stack, of
/// which a check only takes what its document leads to.
const MOST_OF_ONE_VALUE: usize = 1000;

/// Enough for such a way, and for as much as the parser of JSON allows to be nested.
pub const COMPILER: Stack = Stack::Own(64 << 20);

/// Where recursive work has enough of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// On any thread.
    Ordinary,
    /// On a thread of its own, with so many bytes.
    Own(usize),
}

impl Stack {
    /// For checks against a schema, whose `order` is that of [`super::cycles::order`]; or why there are none.
    pub fn of(places: &Places<'_>, order: &[usize], max_depth: usize) -> Result<Self, String> {
        let steps = longest_ways(places, order, 0).into_iter().max().unwrap_or_default();
        if steps > MOST_OF_ONE_VALUE {
            return Err(format!(
                "a value passes {steps} of its subschemas, one in the other, and {MOST_OF_ONE_VALUE} are the most; \
                 make chains of `$ref`, `allOf` and the like shorter"
            ));
        }
        let steps = longest_ways(places, order, max_depth).first().copied().unwrap_or_default();
        let bytes = steps * STEP + REST;
        Ok(if bytes <= ORDINARY { Self::Ordinary } else { Self::Own(bytes) })
    }

    /// Does work that takes at most this; an error if there is no thread for it.
    pub fn run<T: Send>(self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let Self::Own(bytes) = self else { return Ok(work()) };
        thread::scope(|scope| {
            let builder = Builder::new().name("json-schema".to_owned()).stack_size(bytes);
            let ended = builder.spawn_scoped(scope, work)?.join();
            Ok(ended.unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }
}

/// The most places, from each, that a value and what is in it down to `max_depth` pass one in the other.
fn longest_ways(places: &Places<'_>, order: &[usize], max_depth: usize) -> Vec<usize> {
    let places = places.as_slice();
    // For a value with nothing in it, then for one in which one value is, and so on.
    let mut longest = vec![0; places.len()];
    for _ in 0..=max_depth {
        let mut deeper = vec![0; places.len()];
        for place in order {
            let same = places[*place].same.iter().map(|(next, _)| deeper[*next]);
            let inner = places[*place].inner.iter().map(|next| longest[*next]);
            deeper[*place] = 1 + same.chain(inner).max().unwrap_or_default();
        }
        if deeper == longest {
            // It is not recursive, and no document leads deeper.
            break;
        }
        longest = deeper;
    }
    longest
}

#[cfg(test)]
mod tests {
    use jsonschema::{Draft, Registry};
    use serde_json::{Value, json};

    use super::super::cycles;
    use super::*;
    use crate::document::Document;
    use crate::memory::Budget;
    use crate::report::Report;
    use crate::schema::Schema;
    use crate::watch::lowest_address;
    use tidegate_plugin_sdk::units::ByteSize;

    fn with_places<T>(schema: &Value, then: impl FnOnce(&Places<'_>, &[usize]) -> T) -> T {
        let location = "file:///schema.json";
        let registry = Registry::new().add(location, Draft::Draft202012.create_resource_ref(schema)).unwrap();
        let registry = registry.prepare().unwrap();
        let resolver = registry.resolver(jsonschema::uri::from_str(location).unwrap());
        let places = Places::of(schema, Draft::Draft202012, &resolver);
        then(&places, &cycles::order(&places).unwrap())
    }

    fn steps(schema: &Value, max_depth: usize) -> usize {
        with_places(schema, |places, order| longest_ways(places, order, max_depth)[0])
    }

    /// So many subschemas for the same value, before one that leads into it.
    fn chain(hops: usize, hop: &dyn Fn(Value) -> Value, inner: &dyn Fn(Value) -> Value) -> Value {
        let reference = |number: usize| json!({"$ref": format!("#/$defs/a{number}")});
        let mut definitions: serde_json::Map<_, _> =
            (0..hops).map(|number| (format!("a{number}"), hop(reference(number + 1)))).collect();
        definitions.insert(format!("a{hops}"), inner(reference(0)));
        json!({"$defs": definitions, "$ref": "#/$defs/a0"})
    }

    fn properties(next: Value) -> Value {
        json!({"type": "object", "properties": {"x": next}})
    }

    #[test]
    fn the_way_is_as_long_as_the_document_is_deep_if_the_schema_is_recursive() {
        // The whole, `a0`, `a1` and the value; then the reference, `a0`, `a1` and that in it.
        let recursive = chain(1, &|next| next, &properties);
        assert_eq!([0, 1, 2, 128].map(|depth| steps(&recursive, depth)), [3, 6, 9, 387]);
        let flat = json!({"properties": {"x": {"items": {"allOf": [{"type": "string"}]}}}, "$defs": {"a": recursive}});
        assert_eq!([0, 1, 2, 128].map(|depth| steps(&flat, depth)), [1, 2, 4, 4]);
    }

    #[test]
    fn where_a_check_fits_depends_on_the_schema_and_the_depth() {
        let stack =
            |schema: &Value, max_depth| with_places(schema, |places, order| Stack::of(places, order, max_depth));
        assert_eq!(stack(&json!({"items": {"properties": {"a": {"type": "string"}}}}), 128), Ok(Stack::Ordinary));
        let long = chain(32, &|next| json!({"anyOf": [{"type": "null"}, next]}), &properties);
        assert!(matches!(stack(&long, 128), Ok(Stack::Own(_))));
        assert_eq!(stack(&long, 1), Ok(Stack::Ordinary));
        let longest = |length| stack(&chain(length, &|next| next, &properties), 128);
        assert!(matches!(longest(990), Ok(Stack::Own(_))));
        assert!(longest(1000).unwrap_err().contains("`$ref`"));
    }

    /// What a check takes of the stack, in bytes.
    fn taken(schema: &Value, document: &str) -> usize {
        let validator = jsonschema::options_for().build(schema).unwrap();
        let schema = Schema { validator, is_linear: true, stack: Stack::Ordinary };
        let check = || {
            let arena = Document::arena(document.len());
            let mut memory = Budget::apart(ByteSize::mib(10)).reserve_for(1000).unwrap();
            let document = Document::parse(document, &arena, 128, &mut memory).unwrap();
            let begin = 0;
            lowest_address::reset();
            Report::new(10).add_errors(&schema, &document, "");
            std::ptr::from_ref(&begin).addr() - lowest_address::get()
        };
        Stack::Own(64 << 20).run(check).unwrap()
    }

    #[test]
    fn a_step_takes_half_of_what_is_counted_for_it() {
        let in_value = [
            ("x", json!({"properties": {"x": null}})),
            ("x", json!({"additionalProperties": null})),
            ("x", json!({"patternProperties": {"^x": null}})),
            ("x", json!({"properties": {"x": null}, "additionalProperties": false, "required": ["x"]})),
            ("x", json!({"properties": {"x": null}, "patternProperties": {"^y": true}, "additionalProperties": false})),
            ("x", json!({"properties": {"y": true}, "patternProperties": {"^z": true}, "additionalProperties": null})),
            ("x", many_properties()),
            ("x", json!({"unevaluatedProperties": null})),
            ("", json!({"items": null})),
            ("", json!({"type": "array", "items": null, "minItems": 1, "maxItems": 3})),
            ("", json!({"prefixItems": [true], "items": null})),
            ("", json!({"prefixItems": [null]})),
            ("", json!({"contains": null, "minContains": 1, "maxContains": 2})),
            ("", json!({"contains": null})),
            ("", json!({"unevaluatedItems": null})),
        ];
        let same_value = [
            json!(null),
            json!({"allOf": [null]}),
            json!({"allOf": [true, null, {"maxItems": 7}]}),
            json!({"anyOf": [{"type": "null"}, null]}),
            json!({"oneOf": [{"type": "null"}, null]}),
            json!({"not": {"not": null}}),
            json!({"if": true, "then": null}),
            json!({"if": null, "then": true, "else": false}),
            json!({"dependentSchemas": {"x": null}}),
            json!({"dependencies": {"x": null}}),
            json!({"allOf": [null], "unevaluatedProperties": false}),
            json!({"$ref": null, "unevaluatedProperties": false}),
            json!({"anyOf": [null], "unevaluatedProperties": false}),
            json!({"oneOf": [null], "unevaluatedProperties": false}),
            json!({"if": null, "unevaluatedProperties": false}),
            json!({"allOf": [null], "unevaluatedItems": false}),
        ];
        // A step is what two lengths differ by.
        let measure = |lengths: [(Value, usize); 2], name: &str, what: &str| {
            for leaf in ["1", "{}", "[]", "null"] {
                let [short, long] = &lengths;
                let of = |(schema, depth): &(Value, usize)| {
                    let (open, close) = if name.is_empty() { ("[", "]") } else { ("{\"x\":", "}") };
                    let document = format!("{}{leaf}{}", open.repeat(*depth), close.repeat(*depth));
                    (steps(schema, *depth), taken(schema, &document))
                };
                let ((short_steps, short), (long_steps, long)) = (of(short), of(long));
                let step = long.saturating_sub(short) / (long_steps - short_steps);
                println!("{step} bytes: {what}, {leaf}");
                assert!(2 * step <= STEP, "{what} takes {step} bytes a step");
            }
        };
        for (name, shape) in in_value {
            let inner = |next: Value| filled(&shape, &next);
            let [short, long] = [8, 16].map(|depth| (chain(0, &|next| next, &inner), depth));
            measure([short, long], name, &shape.to_string());
        }
        for shape in same_value {
            let hop = |next: Value| filled(&shape, &next);
            let [short, long] = [2, 8].map(|hops| (chain(hops, &hop, &|_| json!({"type": "integer"})), 1));
            measure([short, long], "x", &shape.to_string());
        }
    }

    /// More than are looked at one after the other.
    fn many_properties() -> Value {
        let names = ('a'..='z').map(|name| (name.to_string(), if name == 'x' { json!(null) } else { json!(true) }));
        json!({"properties": names.collect::<serde_json::Map<_, _>>()})
    }

    /// A schema with another in the places that are empty.
    fn filled(shape: &Value, next: &Value) -> Value {
        match shape {
            Value::Null => next.clone(),
            Value::Array(items) => items.iter().map(|item| filled(item, next)).collect(),
            Value::Object(members) if members.get("$ref") == Some(&Value::Null) => {
                let mut members = members.clone();
                members.insert("$ref".to_owned(), next["$ref"].clone());
                Value::Object(members)
            }
            Value::Object(members) => {
                members.iter().map(|(name, member)| (name.clone(), filled(member, next))).collect()
            }
            other => other.clone(),
        }
    }

    #[test]
    fn a_panic_on_a_thread_of_its_own_is_one_of_the_caller() {
        for stack in [Stack::Ordinary, Stack::Own(1 << 20)] {
            assert_eq!(stack.run(|| 7).unwrap(), 7);
            let panicked = std::panic::catch_unwind(|| stack.run(|| panic!("a mistake")));
            assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"a mistake"));
        }
    }
}
