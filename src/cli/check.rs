//! `tidegate check`.

use std::io;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{BAD_CONFIG, Format, print, print_json};
use crate::config::{LoadOptions, load};

#[derive(Args)]
pub struct Check {
    /// How to write what was found.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Check {
    pub fn run(&self, options: &LoadOptions) -> io::Result<ExitCode> {
        let loaded = load(options);
        let (diagnostics, verdict) = match &loaded {
            Ok(config) => (&config.warnings, format!("{}: nothing is wrong", config.file)),
            Err(diagnostics) => (diagnostics, String::new()),
        };
        match self.format {
            Format::Json => print_json(&json!({ "ok": loaded.is_ok(), "diagnostics": diagnostics }))?,
            Format::Human if diagnostics.is_empty() => print(&verdict)?,
            Format::Human => print(&format!("{diagnostics}{verdict}"))?,
        };
        Ok(if loaded.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(BAD_CONFIG) })
    }
}
