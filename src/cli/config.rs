//! `tidegate config show` and `tidegate config schema`.

use std::io;
use std::process::ExitCode;

use clap::Subcommand;

use super::{Format, print, print_json, refuse_config};
use crate::config::{LoadOptions, Sections, load};

#[derive(Subcommand)]
pub enum Config {
    /// Show every value in force and where it came from. Secrets are left out.
    Show {
        /// How to write it.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Print the JSON Schema of the configuration file, for editors.
    Schema,
}

impl Config {
    pub fn run(&self, options: &LoadOptions) -> io::Result<ExitCode> {
        let format = match self {
            Config::Schema => return print_json(&schemars::schema_for!(Sections)),
            Config::Show { format } => *format,
        };
        match (load(options), format) {
            (Err(diagnostics), _) => refuse_config(&diagnostics),
            (Ok(config), Format::Human) => print(&config.show()),
            (Ok(config), Format::Json) => print_json(&config.show_json()),
        }
    }
}
