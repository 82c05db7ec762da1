//! How fast the scanner is beside `serde_json::de::IgnoredAny` over the same bytes in memory: medians, interleaved.
//!
//! `cargo run --release -p tidegate-plugin-json --example throughput [megabytes] [rounds]`

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use serde::de::IgnoredAny;
use tidegate_plugin_json::duplicates::Keys;
use tidegate_plugin_json::scanner::Scanner;

const PIECE: usize = 256 * 1024;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().expect("a number"));
    let megabytes = arguments.next().unwrap_or(128);
    let rounds = arguments.next().unwrap_or(7);
    println!("{:32} {:>12} {:>14} {:>12} {:>7}", "document", "scanner", "in one piece", "IgnoredAny", "ratio");
    for layout in [Layout::Compact, Layout::Python, Layout::Indented] {
        measure(&format!("accounts, {layout:?}, {megabytes} MB"), &accounts(megabytes * 1_000_000, layout), rounds);
    }
    // Small files: as many of them as make up the same bytes in one round.
    let small = accounts(10_000, Layout::Python);
    let times = megabytes * 1_000_000 / small.len() / 10;
    let mut nanoseconds = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        for _ in 0..times {
            scan(black_box(&small), PIECE);
        }
        nanoseconds.push(begun.elapsed().as_nanos() as f64 / times as f64);
    }
    let document = accounts(megabytes * 1_000_000, Layout::Python);
    let keys = (0..rounds).map(|_| {
        speed(&document, |document| {
            let mut keys = Keys::new(1_000);
            document.chunks(PIECE).try_for_each(|piece| keys.push(piece)).expect("no key stands twice");
        })
    });
    println!("duplicate keys, beside the scanner: {:.0} MB/s", median(keys.collect()));
    println!("{} bytes, hot: {:.1} µs", small.len(), median(nanoseconds) / 1000.0);
}

fn measure(name: &str, document: &[u8], rounds: usize) {
    let (mut pieces, mut whole, mut ignored) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        pieces.push(speed(document, |document| scan(document, PIECE)));
        whole.push(speed(document, |document| scan(document, document.len())));
        ignored.push(speed(document, |document| {
            serde_json::from_slice::<IgnoredAny>(document).expect("the document is JSON");
        }));
    }
    let (pieces, whole, ignored) = (median(pieces), median(whole), median(ignored));
    println!("{name:32} {pieces:>7.0} MB/s {whole:>9.0} MB/s {ignored:>7.0} MB/s {:>7.2}", pieces / ignored);
}

fn scan(document: &[u8], piece: usize) {
    let mut scanner = Scanner::new(512);
    document.chunks(piece).try_for_each(|piece| scanner.push(piece)).expect("the document is JSON");
    scanner.finish().expect("the document is JSON");
}

fn speed(document: &[u8], check: impl Fn(&[u8])) -> f64 {
    let begun = Instant::now();
    check(black_box(document));
    document.len() as f64 / 1e6 / begun.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[derive(Debug, Clone, Copy)]
enum Layout {
    /// As JavaScript's `JSON.stringify` writes it.
    Compact,
    /// As Python's `json.dumps` writes it.
    Python,
    /// As `json.dumps(indent=2)` writes it.
    Indented,
}

/// Entries of a French company's books, about `bytes` of them.
fn accounts(bytes: usize, layout: Layout) -> Vec<u8> {
    let (comma, colon, entry, field, end) = match layout {
        Layout::Compact => (",", ":", "", "", ""),
        Layout::Python => (", ", ": ", "", "", ""),
        Layout::Indented => (",", ": ", "\n    ", "\n      ", "\n    "),
    };
    let mut text = format!(
        "{{\"societe\"{colon}\"Société Générale des Eaux\"{comma}\"annee\"{colon}2024{comma}\"ecritures\"{colon}["
    );
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut number = 0u64;
    while text.len() < bytes {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = seed >> 33;
        let fields = [
            format!("\"numero\"{colon}{number}"),
            format!("\"date\"{colon}\"2024-{:02}-{:02}\"", random % 12 + 1, random % 28 + 1),
            format!("\"compte\"{colon}\"{}\"", 100_000 + random % 899_999),
            format!("\"libelle\"{colon}\"Facture n° {} – fournisseur {}\"", random % 10_000, random % 977),
            format!("\"debit\"{colon}{}.{:02}", random % 100_000, random % 100),
            format!(
                "\"credit\"{colon}{}",
                if random.is_multiple_of(3) { "0.0".to_owned() } else { (random % 5000).to_string() }
            ),
            format!("\"lettrage\"{colon}{}", ["null", "\"AA\"", "\"B\\u00e9\""][(random % 3) as usize]),
            format!("\"rapproche\"{colon}{}", random.is_multiple_of(2)),
        ];
        if number > 0 {
            text.push_str(comma);
        }
        let _ = write!(text, "{entry}{{{field}{}{end}}}", fields.join(&format!("{comma}{field}")));
        number += 1;
    }
    text.push_str("]}");
    text.into_bytes()
}
