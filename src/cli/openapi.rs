//! `tidegate openapi`.

use std::io;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::print;
use crate::http::app;

#[derive(Args)]
pub struct OpenApi {
    /// How to write the document.
    #[arg(long, value_enum, default_value_t)]
    format: DocumentFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum DocumentFormat {
    /// As `openapi/openapi.yaml` is kept.
    #[default]
    Yaml,
    Json,
}

impl OpenApi {
    pub fn run(&self) -> io::Result<ExitCode> {
        let document = app::document().map_err(io::Error::other)?;
        match self.format {
            DocumentFormat::Yaml => print(&document.to_yaml().map_err(io::Error::other)?),
            DocumentFormat::Json => print(&document.to_json()),
        }
    }
}
