//! One run of a command from its folder to its end. However a run ends, also if whoever waits for it goes away, nothing of it is left.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Pid;
use tidegate_plugin_sdk::{ErrorKind, PluginError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::folder::Folder;
use crate::leader::{Leader, ended};
use crate::limits::Limits;

/// How long the rest of the output is read when all that could write to it has been killed. It is there already; but a process that
/// hid can hold the pipes open.
const REST: Duration = Duration::from_secs(1);

pub struct Run {
    /// Until the end.
    remains: Option<Remains>,
    folder: PathBuf,
}

/// What there is of a run, in the order in which it is let go of. That may take a while, so no task does it.
struct Remains {
    leader: Option<Leader>,
    folder: Folder,
    /// The next may run when nothing of this one does.
    _place: OwnedSemaphorePermit,
}

/// What came of a run.
#[derive(Debug)]
pub struct Ended {
    /// How it ended, or why it was not left to.
    pub result: Result<ExitStatus, PluginError>,
    pub output: Vec<u8>,
    /// What it wrote to standard error.
    pub complaints: Vec<u8>,
}

impl Run {
    /// Makes the private folder of a run below `root`.
    pub async fn prepare(root: PathBuf, place: OwnedSemaphorePermit) -> Result<Self, PluginError> {
        let made = blocking(move || {
            let folder = Folder::create(&root)?;
            Ok::<_, io::Error>(Remains { leader: None, folder, _place: place })
        });
        let remains = made.await?.map_err(|error| {
            PluginError::retryable(ErrorKind::Internal, "make a private folder for the command").caused_by(error)
        })?;
        let folder = remains.folder.path().to_owned();
        Ok(Self { remains: Some(remains), folder })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs the command to its end, which is at `most` bytes of output at the latest. After that none of its processes is left.
    pub async fn carry_out(
        mut self,
        mut command: Command,
        limits: Limits,
        question: &[u8],
        most: usize,
    ) -> Result<Ended, PluginError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let broken =
            |error: io::Error| PluginError::retryable(ErrorKind::Internal, "watch the command").caused_by(error);
        let mut signals = signal(SignalKind::child()).map_err(broken)?;
        let (group, pipes) = self.start(command, limits).await?;
        let (mut output, mut complaints) = (Output::new(pipes.output, most), Output::new(pipes.complaints, most));
        let result = self.listen(group, &mut signals, (pipes.input, question), &mut output, &mut complaints).await;
        Ok(Ended { result, output: output.kept, complaints: complaints.kept })
    }

    /// On another thread, for a program may have to be fetched from a slow disk first.
    async fn start(&mut self, mut command: Command, limits: Limits) -> Result<(Pid, Pipes), PluginError> {
        let mut remains = self.remains.take().ok_or_else(over)?;
        let started = blocking(move || {
            let program = command.as_std().get_program().to_owned();
            let mut leader =
                Leader::start(&mut command, &limits).map_err(|error| cannot_start(Path::new(&program), error))?;
            let (group, pipes) = (leader.group(), leader.child().and_then(Pipes::of).ok_or_else(over)?);
            remains.leader = Some(leader);
            Ok::<_, PluginError>((remains, group, pipes))
        });
        let (remains, group, pipes) = started.await??;
        self.remains = Some(remains);
        Ok((group, pipes))
    }

    /// Tells the command its question and hears what it says, until it ends or says too much; then ends the rest.
    async fn listen(
        &mut self,
        group: Pid,
        signals: &mut Signal,
        (input, question): (ChildStdin, &[u8]),
        output: &mut Output<ChildStdout>,
        complaints: &mut Output<ChildStderr>,
    ) -> Result<ExitStatus, PluginError> {
        let mut telling = std::pin::pin!(tell(input, question));
        let mut hearing = std::pin::pin!(async { tokio::try_join!(output.hear(), complaints.hear()) });
        let (mut is_told, mut heard) = (false, None);
        loop {
            tokio::select! {
                () = &mut telling, if !is_told => is_told = true,
                all = &mut hearing, if heard.is_none() => {
                    let is_too_much = all.is_err();
                    heard = Some(all);
                    if is_too_much {
                        break;
                    }
                }
                () = ended(group, signals) => break,
            }
        }
        let status = self.end().await?;
        if heard.is_none() {
            heard = timeout(REST, hearing).await.ok();
        }
        match heard {
            Some(Err(too_much)) => Err(too_much),
            _ => status.ok_or_else(|| PluginError::retryable(ErrorKind::Internal, "the command cannot be killed")),
        }
    }

    async fn end(&mut self) -> Result<Option<ExitStatus>, PluginError> {
        let remains = self.remains.take().ok_or_else(over)?;
        remains.kill();
        blocking(move || remains.clear_away()).await
    }
}

impl Remains {
    fn kill(&self) {
        if let Some(leader) = &self.leader {
            leader.kill();
        }
    }

    /// All of it, and how the command ended.
    fn clear_away(mut self) -> Option<ExitStatus> {
        self.leader.as_mut().and_then(Leader::end)
    }
}

/// Whoever waited is gone: the processes are killed at once, and the rest is done where it holds nobody up.
impl Drop for Run {
    fn drop(&mut self) {
        let Some(remains) = self.remains.take() else { return };
        remains.kill();
        match Handle::try_current() {
            // A runtime that stops drops the work undone, which does it too.
            Ok(runtime) => drop(runtime.spawn_blocking(move || remains.clear_away())),
            Err(_) => drop(remains.clear_away()),
        }
    }
}

struct Pipes {
    input: ChildStdin,
    output: ChildStdout,
    complaints: ChildStderr,
}

impl Pipes {
    fn of(child: &mut tokio::process::Child) -> Option<Self> {
        Some(Self { input: child.stdin.take()?, output: child.stdout.take()?, complaints: child.stderr.take()? })
    }
}

/// What comes out of a pipe, up to a bound.
struct Output<P> {
    pipe: P,
    kept: Vec<u8>,
    most: usize,
}

impl<P: AsyncRead + Unpin> Output<P> {
    fn new(pipe: P, most: usize) -> Self {
        Self { pipe, kept: Vec::new(), most }
    }

    /// To the end, which is also where the pipe cannot be read any more.
    async fn hear(&mut self) -> Result<(), PluginError> {
        while self.pipe.read_buf(&mut self.kept).await.is_ok_and(|read| read > 0) {
            if self.kept.len() > self.most {
                self.kept.truncate(self.most);
                let context = format!("the command wrote more than {} bytes (max_output), and was killed", self.most);
                return Err(PluginError::permanent(ErrorKind::Limit, context));
            }
        }
        Ok(())
    }
}

/// A command need not read what it is told.
async fn tell(mut input: ChildStdin, question: &[u8]) {
    let _ = input.write_all(question).await;
}

/// A program that is not there or cannot be run stays so until somebody mends it; that there are too many processes does not.
fn cannot_start(program: &Path, error: io::Error) -> PluginError {
    let context = format!("start `{}` within its limits", program.display());
    let is_unfit = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
        || error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error());
    match is_unfit {
        true => PluginError::permanent(ErrorKind::Config, context),
        false => PluginError::retryable(ErrorKind::Unavailable, context),
    }
    .caused_by(error)
}

/// On a thread that may wait. It goes on if the caller is dropped, and then what it made is dropped there.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PluginError> {
    let ended = spawn_blocking(work).await;
    ended.map_err(|error| PluginError::retryable(ErrorKind::Internal, "the gateway is stopping").caused_by(error))
}

fn over() -> PluginError {
    PluginError::permanent(ErrorKind::Internal, "the run is over")
}
