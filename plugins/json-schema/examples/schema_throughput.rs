//! How long a document of accounts takes, of the size that is given in bytes: the median of rounds, on one core.
//!
//! `cargo run --release -p tidegate-plugin-json-schema --example schema_throughput [bytes] [rounds]`

use std::path::Path;
use std::time::Instant;

use tidegate_plugin_json_schema::{Config, JsonSchema};
use tidegate_plugin_sdk::testing::MemoryFile;
use tidegate_plugin_sdk::{Build, Validate, Verdict};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().expect("a number"));
    let bytes = arguments.next().unwrap_or(10_000);
    let rounds = arguments.next().unwrap_or(21);
    let account =
        r#"{"numero": "512000", "libelle": "Crédit agricole", "solde": 1250.4, "debit": 98000, "credit": 12.75}"#;
    let document =
        format!(r#"{{"annee": 2024, "comptes": [{}]}}"#, vec![account; (bytes / account.len()).max(1)].join(", "));
    let config = Config { schema: Some("comptes.schema.json".into()), ..Config::default() };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let check = JsonSchema::build(config, &folder).expect("the schema is one");
    let file = MemoryFile::new("comptes.json", document.clone());
    let times = (20_000_000 / document.len()).max(1);
    let mut microseconds = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        for _ in 0..times {
            assert_eq!(check.validate(&file).await.expect("it is checked"), Verdict::Accept);
        }
        microseconds.push(begun.elapsed().as_secs_f64() * 1e6 / times as f64);
    }
    microseconds.sort_by(f64::total_cmp);
    let median = microseconds[microseconds.len() / 2];
    println!("{} bytes: {median:.1} µs, {:.0} MB/s", document.len(), document.len() as f64 / median);
}
