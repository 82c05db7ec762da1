//! A document in memory, as small and as cheap as it can be had: strings lie in the text itself unless they have escapes, and all else
//! in one arena, arrays and objects as long as what they hold. Its parser is `serde_json`; depth and memory are counted while it reads.

mod builder;
pub mod order;

use bumpalo::Bump;
use serde::de::DeserializeSeed;
use serde_json::Number;
use tidegate_plugin_sdk::PluginError;

use crate::memory::Reservation;
use builder::{Builder, Failure, ItemSeed};

// A tag as wide as what follows it: next to a narrow one `bool` lies in the same word, and an item that is moved in pieces stalls whoever
// reads it whole right after, which was a quarter of the time.
#[derive(Debug)]
#[repr(u64)]
pub enum Item<'d> {
    Null,
    Boolean(bool),
    Number(Number),
    Text(&'d str),
    Array(&'d [Item<'d>]),
    Object(Members<'d>),
}

#[derive(Debug)]
pub struct Member<'d> {
    pub name: &'d str,
    pub value: Item<'d>,
}

/// The members of an object, each name once: few of them in the order of the document, many by name.
#[derive(Debug)]
pub struct Members<'d>(&'d [Member<'d>]);

/// As long as this, looking at each is as fast as anything.
const FEW: usize = 16;

#[derive(Debug)]
pub struct Document<'d> {
    pub root: Item<'d>,
    /// No JSON Pointer into the document is longer, in bytes.
    pub longest_path: usize,
}

/// Why there is no document.
#[derive(Debug)]
pub enum Unreadable {
    Syntax {
        line: usize,
        /// In characters, from 1.
        column: usize,
        message: String,
    },
    TooDeep {
        line: usize,
        column: usize,
    },
    Memory(PluginError),
}

impl<'d> Document<'d> {
    /// A place for a document of this size, in bytes, which `memory` holds ten times: one block as a rule.
    pub fn arena(size: usize) -> Bump {
        Bump::with_capacity(size.saturating_mul(3))
    }

    /// Reads one JSON text into the arena, in what `memory` holds and can still get.
    pub fn parse(
        text: &'d str,
        arena: &'d Bump,
        max_depth: usize,
        memory: &mut Reservation,
    ) -> Result<Self, Unreadable> {
        let mut builder = Builder::new(arena, max_depth, memory);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        // The builder has its own.
        deserializer.disable_recursion_limit();
        let parsed = ItemSeed::new(&mut builder).deserialize(&mut deserializer);
        match parsed.and_then(|root| deserializer.end().map(|()| root)) {
            Ok(root) => Ok(Self { root, longest_path: builder.longest_path }),
            Err(error) => Err(unreadable(text, max_depth, &error, builder.failure)),
        }
    }
}

fn unreadable(text: &str, max_depth: usize, error: &serde_json::Error, failure: Option<Failure>) -> Unreadable {
    match failure {
        Some(Failure::TooDeep) => {
            // The parser has already looked for the next token, and says its place.
            let before = &text[..bracket_beyond(text, max_depth)];
            let begun = before.rfind('\n').map_or(0, |end| end + 1);
            let line = before[..begun].matches('\n').count() + 1;
            Unreadable::TooDeep { line, column: before[begun..].chars().count() + 1 }
        }
        Some(Failure::Memory(error)) => Unreadable::Memory(error),
        None => {
            let line = error.line().max(1);
            let column = characters(text, line, error.column()).max(1);
            let message = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            let message = message.strip_suffix(&place).unwrap_or(&message).to_owned();
            Unreadable::Syntax { line, column, message }
        }
    }
}

/// Where the first bracket opens that is too deep, in a text that is JSON up to there.
fn bracket_beyond(text: &str, max_depth: usize) -> usize {
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string && depth == max_depth => return at,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// How many characters the first `bytes` of a line are.
fn characters(text: &str, line: usize, bytes: usize) -> usize {
    let line = text.split('\n').nth(line - 1).unwrap_or_default();
    line.char_indices().take_while(|(start, _)| *start < bytes).count()
}

impl<'d> Members<'d> {
    /// Leaves each name once among the members from `start` on.
    fn settle(members: &mut Vec<Member<'d>>, start: usize) {
        let are_many = members.len() - start > FEW;
        if are_many {
            members[start..].sort_by(|one, other| one.name.cmp(other.name));
        }
        let mut kept = start;
        for at in start..members.len() {
            let name = members[at].name;
            // Of those with one name the last stays.
            let later = if are_many { &members[at + 1..members.len().min(at + 2)] } else { &members[at + 1..] };
            if !later.iter().any(|later| later.name == name) {
                members.swap(kept, at);
                kept += 1;
            }
        }
        members.truncate(kept);
    }

    pub fn as_slice(&self) -> &'d [Member<'d>] {
        self.0
    }

    pub fn get(&self, name: &str) -> Option<&Item<'d>> {
        let member = if self.0.len() > FEW {
            let at = self.0.binary_search_by(|member| member.name.cmp(name)).ok()?;
            &self.0[at]
        } else {
            self.0.iter().find(|member| member.name == name)?
        };
        Some(&member.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Budget;
    use tidegate_plugin_sdk::units::ByteSize;

    fn parse(text: &str, max_depth: usize) -> Result<Document<'_>, Unreadable> {
        let arena = Box::leak(Box::new(Document::arena(text.len())));
        Document::parse(text, arena, max_depth, &mut Budget::apart(ByteSize::mib(1)).reserve_for(100).unwrap())
    }

    fn names(text: &str) -> Vec<(String, String)> {
        let Item::Object(members) = parse(text, 9).unwrap().root else { panic!("no object") };
        let shown = |member: &Member<'_>| (member.name.to_string(), format!("{:?}", member.value));
        members.as_slice().iter().map(shown).collect()
    }

    #[test]
    fn an_item_takes_24_bytes() {
        assert_eq!((size_of::<Item<'_>>(), size_of::<Member<'_>>()), (24, 40));
    }

    #[test]
    fn of_a_name_that_stands_twice_the_last_counts() {
        let few: Vec<_> = names(r#"{"a": null, "b": true, "a": false}"#);
        assert_eq!(few, [("b".into(), "Boolean(true)".into()), ("a".into(), "Boolean(false)".into())]);
        let many = (0..100).map(|number| format!("\"{}\": null", number % 50)).collect::<Vec<_>>().join(",");
        let many = names(&format!("{{{many}, \"7\": true, \"7\": false}}"));
        assert_eq!(many.len(), 50);
        assert!(many.contains(&("7".into(), "Boolean(false)".into())));
    }

    #[test]
    fn members_are_found_by_name_however_many_there_are() {
        for count in [1, FEW, FEW + 1, 1000] {
            let text = (0..count).map(|number| format!("\"n{number}\": true")).collect::<Vec<_>>().join(",");
            let text = format!("{{{text}}}");
            let document = parse(&text, 9).unwrap();
            let Item::Object(members) = &document.root else { panic!("no object") };
            for number in 0..count {
                assert!(members.get(&format!("n{number}")).is_some());
            }
            assert!(members.get("m").is_none());
        }
    }

    #[test]
    fn depth_is_counted_to_the_bracket() {
        for (text, depth) in [("[[[]]]", 3), ("{\"a\": [{\"b\": 1}]}", 3), ("1", 0), ("[1, [2], [3]]", 2)] {
            assert!(parse(text, depth).is_ok(), "{text}");
            if depth > 0 {
                assert!(matches!(parse(text, depth - 1), Err(Unreadable::TooDeep { .. })), "{text}");
            }
        }
        let text = "{\n\"é[\\\"[\": [\n] }";
        assert!(matches!(parse(text, 1), Err(Unreadable::TooDeep { line: 2, column: 10 })), "{:?}", parse(text, 1));
        let deep = "[".repeat(1_000_000);
        assert!(matches!(parse(&deep, 128), Err(Unreadable::TooDeep { line: 1, column: 129 })));
    }

    #[test]
    fn an_error_says_line_and_column_in_characters() {
        let Err(Unreadable::Syntax { line, column, message }) = parse("{\n \"été\": tru }", 9) else {
            panic!("parsed")
        };
        assert_eq!((line, column), (2, 12), "{message}");
        assert!(!message.contains("line"), "{message}");
        assert!(matches!(parse("", 9), Err(Unreadable::Syntax { line: 1, column: 1, .. })));
        assert!(matches!(parse("1 2", 9), Err(Unreadable::Syntax { line: 1, column: 3, .. })));
    }

    #[test]
    fn a_document_that_takes_more_than_ten_times_its_size_gets_it_from_the_budget_or_fails() {
        let text = format!("[{}1]", "1,".repeat(10_000));
        let takes = |budget: ByteSize| {
            let mut memory = Budget::apart(budget).reserve_for(1000).unwrap();
            Document::parse(&text, &Document::arena(text.len()), 9, &mut memory).map(|_| memory.bytes())
        };
        assert!(takes(ByteSize::mib(10)).unwrap() >= 240_000);
        assert!(matches!(takes(ByteSize::bytes(200_000)), Err(Unreadable::Memory(_))));
    }

    #[test]
    fn what_the_arena_takes_is_paid_and_the_worst_is_fifty_times() {
        // A block of the arena may be longer than was asked for, and a quarter is paid in advance.
        const ROUNDED: u64 = 16 << 10;
        for count in (0..200).chain((200..20_000).step_by(331)).chain([100_000, 132_000]) {
            for element in ["1", "[1]", "{\"\":1}", "\"\\n\""] {
                let text = format!("[{element}{}]", format!(",{element}").repeat(count));
                let mut memory = Budget::apart(ByteSize::gib(1)).reserve_for(1).unwrap();
                let arena = Document::arena(text.len());
                Document::parse(&text, &arena, 9, &mut memory).unwrap();
                let (paid, taken) = (memory.bytes(), arena.allocated_bytes() as u64);
                assert!(
                    taken <= paid && paid < 50 * text.len() as u64 + ROUNDED,
                    "{paid} for {taken}, {count} × {element}"
                );
            }
        }
    }

    #[test]
    fn the_longest_path_bounds_every_pointer() {
        let document = parse(r#"{"a": [{"long~name": 1}], "b": 2}"#, 9).unwrap();
        assert!(document.longest_path >= "/a/0/long~0name".len());
    }
}
