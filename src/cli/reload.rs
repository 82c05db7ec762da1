//! `tidegate reload`.

use std::io;
use std::process::ExitCode;

use clap::Args;

use super::{BAD_CONFIG, ask_gateway, print, refuse_config};
use crate::boot::control::Request;
use crate::config::{LoadOptions, load};

#[derive(Args)]
pub struct Reload;

impl Reload {
    /// The configuration is read here too: one that is wrong need not be sent.
    pub fn run(&self, options: &LoadOptions) -> io::Result<ExitCode> {
        let config = match load(options) {
            Ok(config) => config,
            Err(diagnostics) => return refuse_config(&diagnostics),
        };
        match ask_gateway(&config.data_dir, &Request::Reload)? {
            Err(code) => Ok(code),
            Ok(answer) => {
                print(&answer.text)?;
                Ok(if answer.done { ExitCode::SUCCESS } else { ExitCode::from(BAD_CONFIG) })
            }
        }
    }
}
