//! Measures the gateway beside a tuned nginx, or beside itself without what is measured: starts both, sends the same work to one and the
//! other in turn, and prints a table in Markdown. What is measured is in [`cases`], one file a row of the table; the rest is how.

mod arena;
mod cases;
mod documents;
mod form;
mod http;
mod measure;
mod pace;
mod receiver;
mod report;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use report::Report;

/// What can go wrong in a measurement is told and ends it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What the command line and the environment say.
pub struct Options {
    pub gateway: PathBuf,
    pub config: PathBuf,
    /// Where large files lie.
    pub disk: PathBuf,
    /// Where small ones do: making one on a disk takes any time.
    pub tmpfs: PathBuf,
    pub rounds: usize,
    names: Vec<String>,
}

impl Options {
    fn read() -> Result<Self> {
        let folder =
            |variable: &str| std::env::var_os(variable).map(PathBuf::from).ok_or(format!("{variable} is not set"));
        let mut options = Self {
            gateway: PathBuf::from("target/release/tidegate"),
            config: PathBuf::from("config.toml"),
            disk: folder("TIDEGATE_BENCH_DISK")?,
            tmpfs: folder("TIDEGATE_BENCH_TMPFS")?,
            rounds: 5,
            names: Vec::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--gateway" => options.gateway = value()?.into(),
                "--config" => options.config = value()?.into(),
                "--rounds" => options.rounds = value()?.parse()?,
                name if cases::NAMES.contains(&name) => options.names.push(argument),
                other => return Err(format!("there is no `{other}`; there are {}", cases::NAMES.join(", ")).into()),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let options = Options::read()?;
    // One thread: on two cores the client must leave one to the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = Report::begin(&options)?;
    for name in cases::NAMES.iter().filter(|name| options.wants(name)) {
        eprintln!("== {name}");
        // What was measured is worth printing when a later case fails.
        if let Err(error) = runtime.block_on(cases::run(name, &options, &mut report)) {
            report.failed(name, &error.to_string());
        }
    }
    report.print();
    if report.is_complete() { Ok(()) } else { Err("a case could not be measured".into()) }
}
