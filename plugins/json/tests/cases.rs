//! A table of documents, good and bad, each with the place and the code of what is wrong. Every one is scanned in one
//! piece, byte by byte, and cut in two at each place: the answer must be the same.

use tidegate_plugin_json::scanner::{Position, Scanner, SyntaxError};

const MAX_DEPTH: usize = 512;

fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(), SyntaxError> {
    let mut scanner = Scanner::new(MAX_DEPTH);
    let pushed = pieces.into_iter().try_for_each(|piece| scanner.push(piece));
    let finished = scanner.finish();
    if pushed.is_err() {
        assert_eq!(finished, pushed, "an error stays");
    }
    finished
}

/// The answer, however the document is cut.
fn answer(document: &[u8]) -> Result<(), SyntaxError> {
    let whole = scan([document]);
    assert_eq!(scan(document.chunks(1)), whole, "byte by byte: {}", document.escape_ascii());
    if document.len() < 2000 {
        for cut in 0..=document.len() {
            let (head, tail) = document.split_at(cut);
            assert_eq!(scan([head, tail]), whole, "cut at {cut}: {}", document.escape_ascii());
        }
    }
    whole
}

#[track_caller]
fn accepts(document: impl AsRef<[u8]>) {
    let document = document.as_ref();
    assert_eq!(answer(document), Ok(()), "{}", document.escape_ascii());
}

/// Line, column and byte, code, and a part of the message.
#[track_caller]
fn refuses(document: impl AsRef<[u8]>, (line, column, offset): (u64, u64, u64), code: &str, message: &str) {
    let document = document.as_ref();
    let shown = document.escape_ascii();
    let error = answer(document).expect_err(&format!("accepted: {shown}"));
    assert_eq!(error.position, Position { line, column, offset }, "{shown}: {error}");
    assert_eq!(error.code(), code, "{shown}: {error}");
    assert!(error.kind.to_string().contains(message), "{shown}: {error}");
    assert!(error.to_string().ends_with(&format!("at line {line}, column {column} (byte {offset})")), "{error}");
}

/// In one line of ASCII, where column and byte say the same.
#[track_caller]
fn refuses_syntax(document: &str, offset: u64, message: &str) {
    refuses(document, (1, offset + 1, offset), "json-syntax", message);
}

#[test]
fn structures() {
    for good in [
        "[]",
        "{}",
        "[[]]",
        "[{}]",
        "{\"a\":[]}",
        "[[],[[]],{}]",
        " [ ] ",
        "\t{\r\n}\n",
        "[1,2]",
        "{\"a\":1,\"b\":2}",
        "{\"a\":1,\"a\":2}",
        "{\"\":0}",
        "[1 ,\n 2]",
        "{ \"a\" : 1 , \"b\" : { } }",
        "null",
        " true ",
        "\"\"",
        "0",
        "[[1],{\"a\":{\"b\":[{}]}},3]",
        "{\"a\\u0000b\":1}",
    ] {
        accepts(good);
    }
    refuses_syntax("[", 1, "a value or `]`");
    refuses_syntax("{", 1, "a key in double quotes or `}`");
    refuses_syntax("[1", 2, "`,` or `]`");
    refuses_syntax("[1,", 3, "a value after the comma");
    refuses_syntax("[1,]", 3, "a value after the comma, found `]`");
    refuses_syntax("[,1]", 1, "a value or `]`, found `,`");
    refuses_syntax("[1,,2]", 3, "found `,`");
    refuses_syntax("[1 2]", 3, "`,` or `]`, found `2`");
    refuses_syntax("[1:2]", 2, "`,` or `]`, found `:`");
    refuses_syntax("[1}", 2, "`,` or `]`, found `}`");
    refuses_syntax("]", 0, "a value, found `]`");
    refuses_syntax("[]]", 2, "nothing more after the value, found `]`");
    refuses_syntax("{}}", 2, "nothing more");
    refuses_syntax("[][]", 2, "nothing more");
    refuses_syntax("1 2", 2, "nothing more");
    refuses_syntax("{}{}", 2, "nothing more after the value, found `{`");
    refuses_syntax("{\"a\"}", 4, "`:` after the key, found `}`");
    refuses_syntax("{\"a\":}", 5, "a value, found `}`");
    refuses_syntax("{\"a\" 1}", 5, "`:` after the key, found `1`");
    refuses_syntax("{\"a\"::1}", 5, "a value, found `:`");
    refuses_syntax("{\"a\":1,}", 7, "a key in double quotes after the comma, found `}`");
    refuses_syntax("{\"a\":1 \"b\":2}", 7, "`,` or `}`");
    refuses_syntax("{\"a\":1]", 6, "`,` or `}`, found `]`");
    refuses_syntax("{\"a\":1", 6, "`,` or `}`, but the file ends");
    refuses_syntax("{\"a\":", 5, "a value, but the file ends");
    refuses_syntax("{\"a\"", 4, "`:` after the key, but the file ends");
    refuses_syntax("{a:1}", 1, "a key in double quotes or `}`, found `a`");
    refuses_syntax("{1:1}", 1, "found `1`");
    refuses_syntax("{,}", 1, "found `,`");
    refuses_syntax("{null:1}", 1, "found `n`");
    refuses_syntax("['a']", 1, "found `'`");
    refuses_syntax("[1]// end", 3, "found `/`");
    refuses_syntax("/* */[]", 0, "found `/`");
    refuses_syntax("# c", 0, "found `#`");
    refuses_syntax("<a/>", 0, "found `<`");
    refuses_syntax("`", 0, "found a backtick");
    refuses_syntax("[1\u{0c}]", 2, "found the control character U+000C");
    refuses_syntax("[1\u{0b}]", 2, "U+000B");
    refuses_syntax("[1\0]", 2, "U+0000");
    refuses_syntax("[1\u{7f}]", 2, "U+007F");
}

#[test]
fn emptiness() {
    refuses("", (1, 1, 0), "json-empty", "the file is empty");
    refuses(" \n\t\r\n ", (3, 2, 6), "json-empty", "the file is empty");
}

#[test]
fn words() {
    for good in ["true", "false", "null", "[true,false,null]", "{\"a\":null}"] {
        accepts(good);
    }
    refuses_syntax("[nul]", 4, "`null`, found `]`");
    refuses_syntax("[nulll]", 5, "`,` or `]`, found `l`");
    refuses_syntax("tru", 3, "`true`, but the file ends");
    refuses_syntax("truf", 3, "`true`, found `f`");
    refuses_syntax("[fals\n]", 5, "`false`, found the end of the line");
    refuses_syntax("[True]", 1, "a value or `]`, found `T`");
    refuses_syntax("[NULL]", 1, "a value, found `N`");
    refuses_syntax("undefined", 0, "a value, found `u`");
    refuses_syntax("truetrue", 4, "nothing more");
}

#[test]
fn what_python_writes_for_no_number() {
    refuses("[NaN]", (1, 2, 1), "json-nan", "`NaN` is no JSON (Python writes it");
    refuses("{\"é\": NaN}", (1, 7, 7), "json-nan", "`NaN`");
    refuses("[1,\n Infinity]", (2, 2, 5), "json-nan", "`Infinity` is no JSON");
    refuses("-Infinity", (1, 1, 0), "json-nan", "`-Infinity` is no JSON");
    refuses_syntax("[Nan]", 1, "a value, found `N`");
    refuses_syntax("[Na", 1, "a value, found `N`");
    refuses_syntax("Inf", 0, "a value, found `I`");
    refuses_syntax("[Infinite]", 1, "a value, found `I`");
    refuses_syntax("[-Inf]", 2, "a digit after `-`, found `I`");
    refuses_syntax("-I", 1, "a digit after `-`, found `I`");
    refuses_syntax("[-NaN]", 2, "a digit after `-`, found `N`");
    refuses_syntax("[+Infinity]", 1, "found `+`");
}

#[test]
fn numbers() {
    for number in [
        "0",
        "-0",
        "1",
        "-1",
        "10",
        "1234567890123456789012345678901234567890",
        "0.0",
        "-0.0",
        "1.5",
        "0.001",
        "1e1",
        "1E1",
        "1e+1",
        "1e-1",
        "0e0",
        "0E+00",
        "-1.25e-300",
        "1e999999",
        "1.7976931348623157e308",
    ] {
        accepts(number);
        accepts(format!("[{number}]"));
        accepts(format!("{{\"a\":{number} ,\"b\":{number}}}"));
    }
    refuses_syntax("-", 1, "a digit after `-`, but the file ends");
    refuses_syntax("[-]", 2, "a digit after `-`, found `]`");
    refuses_syntax("--1", 1, "a digit after `-`, found `-`");
    refuses_syntax("- 1", 1, "found a blank");
    refuses_syntax("+1", 0, "a value, found `+`");
    refuses_syntax("01", 1, "no digit after a leading `0`, found `1`");
    refuses_syntax("[-012]", 3, "no digit after a leading `0`");
    refuses_syntax("[00]", 2, "no digit after a leading `0`");
    refuses_syntax(".5", 0, "a value, found `.`");
    refuses_syntax("-.5", 1, "found `.`");
    refuses_syntax("[1.]", 3, "a digit after the decimal point, found `]`");
    refuses_syntax("1.", 2, "a digit after the decimal point, but the file ends");
    refuses_syntax("1.e1", 2, "a digit after the decimal point, found `e`");
    refuses_syntax("1.2.3", 3, "nothing more after the value, found `.`");
    refuses_syntax("1e", 2, "a digit in the exponent, but the file ends");
    refuses_syntax("[1e+]", 4, "a digit in the exponent, found `]`");
    refuses_syntax("1e+-1", 3, "a digit in the exponent, found `-`");
    refuses_syntax("1e1.5", 3, "found `.`");
    refuses_syntax("1ee1", 2, "found `e`");
    refuses_syntax("0x1F", 1, "nothing more after the value, found `x`");
    refuses_syntax("[1,000.5]", 4, "no digit after a leading `0`");
    refuses_syntax("[1a]", 2, "`,` or `]`, found `a`");
    refuses_syntax("1_000", 1, "found `_`");
    refuses_syntax("[1", 2, "`,` or `]`, but the file ends");
    refuses_syntax("{\"a\":1.5", 8, "`,` or `}`, but the file ends");
    refuses("[\u{ff11}]", (1, 2, 1), "json-syntax", "a character outside ASCII (byte 0xEF)");
}

#[test]
fn strings() {
    for good in [
        r#""""#,
        r#""a""#,
        r#""\"\\\/\b\f\n\r\t""#,
        r#""\u0000\u00e9\uABCD\uabcd""#,
        r#""\ud83d\ude00""#,
        r#""a string that is longer than eight, and than sixteen bytes, with \" in it""#,
        "\"\u{7f}\"",
        "\"é日本😀\u{2028}\u{feff}\u{10ffff}\u{fffe}\"",
        "[\"1234567\",\"12345678\",\"123456789\"]",
    ] {
        accepts(good);
    }
    // Half a surrogate pair in an escape is left alone: RFC 8259 §8.2.
    for half in [r#""\ud800""#, r#""\udc00\ud800""#, r#""\ud800x""#, r#""\ud800\n""#] {
        accepts(half);
    }
    refuses_syntax("\"", 1, "the closing `\"` of a string, but the file ends");
    refuses_syntax("\"abc", 4, "the closing `\"`");
    refuses_syntax("[\"a\\\"]", 6, "the closing `\"`");
    refuses_syntax("\"\\", 2, "after `\\`, but the file ends");
    refuses_syntax(r#""\x""#, 2, "one of `\"`, `\\`, `/`, `b`, `f`, `n`, `r`, `t`, `u` after `\\`, found `x`");
    refuses_syntax(r#""\a""#, 2, "found `a`");
    refuses_syntax(r#""\'""#, 2, "found `'`");
    refuses_syntax(r#""\0""#, 2, "found `0`");
    refuses_syntax(r#""\U0041""#, 2, "found `U`");
    refuses_syntax(r#""\u12""#, 5, "four hexadecimal digits after `\\u`, found `\"`");
    refuses_syntax(r#""\u12g4""#, 5, "four hexadecimal digits after `\\u`, found `g`");
    refuses_syntax(r#""\u"#, 3, "four hexadecimal digits after `\\u`, but the file ends");
    refuses("\"\\é\"", (1, 3, 2), "json-syntax", "a character outside ASCII");
    for control in 0..0x20u8 {
        // A NUL right after the first byte would be UTF-16.
        for before in [if control == 0 { "123" } else { "" }, "1234567", "12345678"] {
            let document = [b"\"", before.as_bytes(), &[control], b"\""].concat();
            let offset = before.len() as u64 + 1;
            refuses(document, (1, offset + 1, offset), "json-syntax", "must be written as an escape");
        }
    }
    refuses("\"a\tb\"", (1, 3, 2), "json-syntax", "a string holds a tab, which must be written as an escape");
    refuses("[\"é\n\"]", (1, 4, 4), "json-syntax", "a string holds the end of the line");
}

#[test]
fn places_are_counted_in_characters_and_lines() {
    refuses("{\n  \"société\": x\n}", (2, 14, 17), "json-syntax", "a value, found `x`");
    refuses("[\r\n\r\n  😀]", (3, 3, 7), "json-syntax", "a character outside ASCII");
    refuses("[\"😀\", ?", (1, 7, 9), "json-syntax", "found `?`");
    refuses("[1,\n\n\n", (4, 1, 6), "json-syntax", "a value after the comma, but the file ends");
}

#[test]
fn text_that_is_not_utf8() {
    for (bad, place) in [
        (&b"[\"a\xff\"]"[..], (1, 4, 3)),
        (b"\"\xe9\"", (1, 2, 1)),
        (b"[\"\xc3\xa9\xe9\"]", (1, 4, 4)),
        (b"\"\xc0\xaf\"", (1, 2, 1)),
        (b"\"\xed\xa0\x80\"", (1, 2, 1)),
        (b"\"\xf4\x90\x80\x80\"", (1, 2, 1)),
        (b"\"\xfc\x83\xbf\xbf\xbf\xbf\"", (1, 2, 1)),
        (b"\"\x80\"", (1, 2, 1)),
        (b"[1,\n\"\xe2\x82\"]", (2, 2, 5)),
        (b"\"\xe2\x82", (1, 2, 1)),
        (b"\"abc\xf0\x9f\x98", (1, 5, 4)),
        // A later error of grammar does not hide it, and an earlier one goes before it.
        (b"\"\xff\" x", (1, 2, 1)),
        (b"\"\xe2\x01\"", (1, 2, 1)),
    ] {
        refuses(bad, place, "json-utf8", "not valid UTF-8");
    }
    refuses(b"[x \"\xff\"]", (1, 2, 1), "json-syntax", "found `x`");
    refuses(b"[\xe9]", (1, 2, 1), "json-syntax", "a character outside ASCII (byte 0xE9)");
    refuses(b"\xe9", (1, 1, 0), "json-syntax", "byte 0xE9");
    refuses(b"[1\xff]", (1, 3, 2), "json-syntax", "byte 0xFF");
    refuses(b"[1e\xe5]", (1, 4, 3), "json-syntax", "byte 0xE5");
    refuses(b"\"\\u\xe5\"", (1, 4, 3), "json-syntax", "byte 0xE5");
    refuses("[\u{a0}]", (1, 2, 1), "json-syntax", "byte 0xC2");
    refuses("[\u{2060}]", (1, 2, 1), "json-syntax", "byte 0xE2");
}

#[test]
fn other_encodings() {
    let document = "{\"é\": 1}";
    let utf16: Vec<u16> = document.encode_utf16().collect();
    let marked: Vec<u16> = [0xfeff].into_iter().chain(utf16.iter().copied()).collect();
    for units in [&utf16, &marked] {
        for bytes in [
            units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>(),
            units.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
        ] {
            refuses(bytes, (1, 1, 0), "json-encoding", "the file is UTF-16, and JSON must be UTF-8");
        }
        for bytes in [
            units.iter().flat_map(|unit| u32::from(*unit).to_le_bytes()).collect::<Vec<_>>(),
            units.iter().flat_map(|unit| u32::from(*unit).to_be_bytes()).collect(),
        ] {
            refuses(bytes, (1, 1, 0), "json-encoding", "the file is UTF-32");
        }
    }
    refuses(b"\xff\xfe", (1, 1, 0), "json-encoding", "UTF-16");
    refuses(b"1\0", (1, 1, 0), "json-encoding", "UTF-16");
    refuses("\u{feff}{}", (1, 1, 0), "json-bom", "begins with a byte-order mark");
    refuses("\u{feff}", (1, 1, 0), "json-bom", "byte-order mark");
    refuses(b"\xef\xbb{}", (1, 1, 0), "json-syntax", "byte 0xEF");
    refuses(" \u{feff}{}", (1, 2, 1), "json-syntax", "byte 0xEF");
    refuses(b"\0", (1, 1, 0), "json-syntax", "U+0000");
}

#[test]
fn depth() {
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        [open.repeat(depth), inner.to_owned(), close.repeat(depth)].concat()
    };
    accepts(nested("[", "", "]", MAX_DEPTH));
    accepts(nested("{\"a\":", "1", "}", MAX_DEPTH));
    accepts(nested("[{\"a\":", "1", "}]", MAX_DEPTH / 2));
    accepts(format!("[{}]", [nested("[", "", "]", MAX_DEPTH - 1), nested("[", "", "]", MAX_DEPTH - 1)].join(",")));
    let deepest = MAX_DEPTH as u64;
    let message = "nested more than 512 deep";
    for depth in [MAX_DEPTH + 1, 100_000] {
        refuses(nested("[", "", "]", depth), (1, deepest + 1, deepest), "json-depth", message);
        refuses("[".repeat(depth), (1, deepest + 1, deepest), "json-depth", message);
    }
    refuses(nested("{\"a\":", "{}", "}", MAX_DEPTH), (1, 5 * deepest + 1, 5 * deepest), "json-depth", message);
    refuses(nested("[\n", "", "]", 600), (deepest + 1, 1, 2 * deepest), "json-depth", message);

    let mut flat = Scanner::new(0);
    assert_eq!(flat.push(b"\"no brackets\" "), Ok(()));
    assert_eq!(flat.finish(), Ok(()));
    assert_eq!(Scanner::new(0).push(b"  []").map_err(|error| error.code()), Err("json-depth"));
}
