//! `tidegate reload`.

use std::io;
use std::process::ExitCode;

use clap::Args;

use super::{BAD_CONFIG, print, refuse, refuse_config};
use crate::boot::control;
use crate::config::{LoadOptions, load};

#[derive(Args)]
pub struct Reload;

impl Reload {
    /// The configuration is read here too: it says where the gateway's socket is, and one that is wrong need not be sent.
    pub fn run(&self, options: &LoadOptions) -> io::Result<ExitCode> {
        let config = match load(options) {
            Ok(config) => config,
            Err(diagnostics) => return refuse_config(&diagnostics),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match runtime.block_on(control::ask_to_reload(&config.data_dir)) {
            Ok(answer) => {
                print(&answer.text)?;
                Ok(if answer.done { ExitCode::SUCCESS } else { ExitCode::from(BAD_CONFIG) })
            }
            Err(error) => Ok(refuse(&format!(
                "no gateway answers at {}: {error}; is one running with this data_dir?",
                control::socket_path(&config.data_dir).display()
            ))),
        }
    }
}
