//! Instances that run a script, and a look at what their processes do.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate_plugin_command::{Command, Config};
use tidegate_plugin_sdk::testing::MemoryFile;
use tidegate_plugin_sdk::{Build, Issue, PluginError, Validate, Verdict};

/// Far more than anything here takes, also while the machine is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// An instance with a folder of its own for its runs.
pub struct Instance {
    pub command: Arc<Command>,
    /// Where the private folders are.
    root: TempDir,
    /// Where scripts leave notes: it is `NOTES` in their environment.
    notes: TempDir,
}

/// An instance that runs this, with a configuration that a test changed.
pub fn instance(command: &[&str], change: impl FnOnce(&mut Config)) -> Instance {
    let (root, notes) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut config = Config {
        command: command.iter().map(|text| (*text).to_owned()).collect(),
        temp_dir: Some(root.path().to_owned()),
        ..Config::default()
    };
    config.environment.0.insert("NOTES".to_owned(), notes.path().to_str().unwrap().to_owned());
    change(&mut config);
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(Command::check(&config, base), []);
    Instance { command: Arc::new(Command::build(config, base).unwrap()), root, notes }
}

/// An instance that runs a shell script.
pub fn shell(script: &str) -> Instance {
    instance(&["/bin/sh", "-c", script], |_| {})
}

/// An instance that runs a Python program, with what it is asked in `asked` and the way to its notes.
pub fn python(program: &str) -> Instance {
    python_with(program, |_| {})
}

pub fn python_with(program: &str, change: impl FnOnce(&mut Config)) -> Instance {
    let prelude = "import json, os, resource, signal, sys, time\nasked = json.load(sys.stdin)\n\
        note = lambda name, text: open(os.path.join(os.environ['NOTES'], name), 'a').write(str(text) + '\\n')\n\
        def limited():\n    while os.nice(0) != 19: time.sleep(0.001)\n";
    instance(&["python3", "-c", &format!("{prelude}{program}")], change)
}

impl Instance {
    pub async fn validate(&self, file: &MemoryFile) -> Result<Verdict, PluginError> {
        self.command.validate(file).await
    }

    /// Of a small file.
    pub async fn verdict(&self) -> Result<Verdict, PluginError> {
        self.validate(&MemoryFile::new("a.json", "{}")).await
    }

    /// What it was refused for.
    pub async fn issues(&self) -> Vec<Issue> {
        match self.verdict().await.unwrap() {
            Verdict::Accept => Vec::new(),
            Verdict::Reject(issues) => issues,
        }
    }

    /// A check of a small file that goes on by itself.
    pub fn start(&self) -> tokio::task::JoinHandle<Result<Verdict, PluginError>> {
        let command = self.command.clone();
        tokio::spawn(async move { command.validate(&MemoryFile::new("a.json", "{}")).await })
    }

    pub fn note(&self, name: &str) -> String {
        fs::read_to_string(self.notes.path().join(name)).unwrap_or_default()
    }

    pub fn leave(&self, name: &str) {
        fs::write(self.notes.path().join(name), "").unwrap();
    }

    /// The numbers that stand in a note, when there are so many whole lines of them.
    pub async fn numbers(&self, name: &str, count: usize) -> Vec<i32> {
        until("a note", || self.note(name).matches('\n').count() >= count).await;
        self.note(name).lines().map(|line| line.trim().parse().unwrap()).collect()
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn folders(&self) -> Vec<PathBuf> {
        fs::read_dir(self.root()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Nothing of any run is there any more.
    pub fn assert_clean(&self) {
        // A process that forks and ends can be missed by one look at the list.
        for _ in 0..20 {
            assert_eq!((self.folders(), self.processes()), (Vec::new(), Vec::new()));
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Soon nothing of any run is there any more. The folder is what goes last.
    pub async fn becomes_clean(&self) {
        until("all is cleared away", || self.folders().is_empty()).await;
        self.assert_clean();
    }

    /// What is alive and has one of the private folders in its environment.
    pub fn processes(&self) -> Vec<i32> {
        let mark = format!("TIDEGATE_RUN={}/", self.root().canonicalize().unwrap().display());
        let numbers =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        let is_ours = |number: &i32| {
            let environment = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark.as_bytes()))
        };
        numbers.filter(is_ours).filter(|number| is_alive(*number)).collect()
    }
}

/// Whether the process still does anything: one that only waits to be reaped does not.
pub fn is_alive(number: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{number}/stat")) else { return false };
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
