//! The command line: what can be asked of the binary, one file a command. What a command does is done elsewhere; here it
//! is read, handed on, and turned into output and an exit code.

mod check;
mod config;
mod hooks;
mod openapi;
mod reload;
mod serve;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::boot::control::{self, Answer, Request};
use crate::config::{LoadOptions, Override, data_dir};
use crate::diagnostics::Diagnostics;
use crate::storage::config::services;

/// What `EX_CONFIG` of sysexits.h says: the configuration is at fault. Service managers need not try again.
const BAD_CONFIG: u8 = 78;

const EXAMPLES: &str = "\
Examples:
  tidegate check                            everything that is wrong with ./config.toml
  tidegate -c /etc/tidegate.toml check      the same for another file
  tidegate config show                      what is in force, and where each value came from
  tidegate config schema > schema.json      for editors that complete and check TOML
  tidegate hooks list                       which follow-ups are owed, and which failed for good

Values may also come from the environment, as TIDEGATE_SERVER__MAX_CONNECTIONS=500.";

/// Tidegate: an upload gateway, from one binary and one TOML file.
#[derive(Parser)]
#[command(name = "tidegate", version, max_term_width = 100, after_help = EXAMPLES)]
struct CommandLine {
    #[command(flatten)]
    source: ConfigSource,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where the configuration comes from; the same for every command.
#[derive(Args)]
struct ConfigSource {
    /// The configuration file [default: ./config.toml, else the one that is compiled in].
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Sets one value over file and environment, as `--set events.keep=7d`; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", global = true, value_parser = read_override)]
    set: Vec<Override>,
}

#[derive(Subcommand)]
enum Command {
    /// Start the gateway (also without a command).
    ///
    /// It runs until SIGTERM or SIGINT, then lets what is under way end. SIGHUP reloads the configuration. TIDEGATE_LOG says what
    /// is logged (as `info` or `tidegate=debug`), TIDEGATE_LOG_FORMAT how (`text` or `json`).
    Serve(serve::Serve),
    /// Find everything that is wrong with the configuration, at once.
    ///
    /// Reads the files that the configuration names, dials nothing and changes nothing. The exit code is 0 when the gateway
    /// would start with this configuration, else 78.
    Check(check::Check),
    /// Show the configuration in force, or the schema that it follows.
    #[command(subcommand)]
    Config(config::Config),
    /// Have the running gateway take the configuration anew.
    ///
    /// Prints what `check` would. What is wrong leaves the running gateway exactly as it was, and the exit code is 78.
    Reload(reload::Reload),
    /// Look at what is owed after publication: list, show, retry or discard the runs of hooks.
    #[command(subcommand)]
    Hooks(hooks::HooksCommand),
    /// Print the OpenAPI document of everything that this build can serve.
    Openapi(openapi::OpenApi),
}

/// How output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

/// Reads the command line, does what it says, and gives the exit code.
pub fn run() -> ExitCode {
    let CommandLine { source, command } = CommandLine::parse();
    let options = match source.load_options() {
        Ok(options) => options,
        Err(error) => return refuse(&format!("the current folder cannot be told: {error}")),
    };
    let done = match command.unwrap_or(Command::Serve(serve::Serve)) {
        Command::Serve(serve) => serve.run(options),
        Command::Reload(reload) => reload.run(&options),
        Command::Hooks(hooks) => hooks.run(&options),
        Command::Openapi(openapi) => openapi.run(),
        Command::Check(check) => check.run(&options),
        Command::Config(config) => config.run(&options),
    };
    match done {
        Ok(code) => code,
        // Whoever reads our output has had enough of it, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => refuse(&format!("could not write the output: {error}")),
    }
}

impl ConfigSource {
    fn load_options(self) -> io::Result<LoadOptions> {
        // A variable that is no UTF-8 is none of ours.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Ok(LoadOptions {
            path: self.config,
            variables: std::env::vars_os().filter_map(text).collect(),
            overrides: self.set,
            current_folder: std::env::current_dir()?,
            plugins: crate::hooks::built_in_plugins(),
            services: services(),
        })
    }
}

fn read_override(text: &str) -> Result<Override, String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, as events.keep=7d")?;
    let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
    let flag = format!("--set {key}");
    Ok(Override { key, value, flag })
}

fn refuse(message: &str) -> ExitCode {
    // There is nobody left to tell if this does not go out.
    let _ = writeln!(io::stderr(), "tidegate: {message}");
    ExitCode::FAILURE
}

/// What is wrong with the configuration, to where errors go; for every command that needs it right.
fn refuse_config(diagnostics: &Diagnostics) -> io::Result<ExitCode> {
    write!(io::stderr(), "{diagnostics}")?;
    Ok(ExitCode::from(BAD_CONFIG))
}

/// What the running gateway answers an operator, whatever has become of the configuration since it started: that says where the gateway's
/// socket is, and no more. Or the exit code where there is no answer: then it has been said why.
fn ask_running(options: &LoadOptions, request: &Request) -> io::Result<Result<Answer, ExitCode>> {
    match data_dir(options) {
        Ok(data_dir) => ask_gateway(&data_dir, request),
        Err(diagnostics) => refuse_config(&diagnostics).map(Err),
    }
}

/// What the gateway that runs on `data_dir` answers, or the exit code where there is no answer: then it has been said why.
fn ask_gateway(data_dir: &Path, request: &Request) -> io::Result<Result<Answer, ExitCode>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(control::ask(data_dir, request)).map_err(|error| {
        refuse(&format!(
            "no gateway answers at {}: {error}; is one running with this data_dir (and the same STATE_DIRECTORY)?",
            control::socket_path(data_dir).display()
        ))
    }))
}

/// Output that something is to be done with.
fn print(text: &str) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn print_json(value: &impl serde::Serialize) -> io::Result<ExitCode> {
    print(&serde_json::to_string_pretty(value)?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn an_override_is_a_key_and_a_value() {
        let read = read_override("server.public_url = https://a/?b=c").unwrap();
        assert_eq!((read.key.as_str(), read.value.as_str()), ("server.public_url", "https://a/?b=c"));
        assert!(read_override("events.keep").is_err());
    }
}
