//! The chain under plugins that behave and plugins that do not.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::collections::BTreeMap;
use std::path::Path;

use futures_util::FutureExt;
use tidegate_plugin_sdk as sdk;
use tidegate_plugin_sdk::{Admit, ErrorKind, FileHandle, Plugin, PluginError, PostAssembly, Validate};
use tokio::sync::Notify;

use super::super::file::STRIDE;
use super::super::instances::BuildError;
use super::super::registry::Instance;
use super::*;
use crate::collection::{Collection, PathTemplate, Verify};
use crate::files::port::Content;
use crate::hooks::config::{Options, PluginConfig};

/// Content in memory, handed out in one piece.
struct Memory(Bytes);

#[async_trait]
impl Content for Memory {
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let start = self.0.len().min(offset as usize);
        Ok(self.0.slice(start..self.0.len().min(start + length)))
    }

    fn stream(self: Arc<Self>, range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
        let bytes = self.0.slice(range.start as usize..range.end as usize);
        stream::iter([Ok(Bytes::new()), Ok(bytes)]).boxed()
    }
}

fn candidate(content: impl Into<Bytes>) -> Candidate {
    let content = content.into();
    Candidate {
        collection: "societes".to_owned(),
        tenant: "Société".to_owned(),
        file_name: "comptes_2024.json".to_owned(),
        size: content.len() as u64,
        content_type: None,
        content: Arc::new(Memory(content)),
    }
}

/// Content in a file that a plugin is shown.
struct OnDisk(tempfile::NamedTempFile);

#[async_trait]
impl Content for OnDisk {
    async fn read_at(&self, _: u64, _: usize) -> io::Result<Bytes> {
        Ok(Bytes::new())
    }

    fn stream(self: Arc<Self>, _: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
        stream::empty().boxed()
    }

    fn local_path(&self) -> Option<std::path::PathBuf> {
        Some(self.0.path().to_owned())
    }
}

/// With a deadline that no busy machine reaches.
fn hook<F: Default>(plugin: &str) -> HookUse<F> {
    HookUse {
        plugin: plugin.into(),
        files: None,
        timeout: Duration::from_secs(60),
        retry: Arc::default(),
        on_failure: F::default(),
    }
}

fn impatient<F: Default>(plugin: &str) -> HookUse<F> {
    HookUse { timeout: Duration::from_millis(50), ..hook(plugin) }
}

fn hooks<const N: usize>(instances: [(&str, Arc<Test>); N]) -> Hooks {
    Hooks::of(instances.map(|(name, plugin)| {
        let instance = Instance {
            plugin: plugin.clone(),
            admit: Some(plugin.clone()),
            validate: Some(plugin.clone()),
            post_assembly: Some(plugin),
        };
        (Arc::from(name), instance)
    }))
}

fn codes(verdict: &Verdict) -> Vec<&str> {
    match verdict {
        Verdict::Accept => Vec::new(),
        Verdict::Reject(issues) => issues.iter().map(|issue| issue.code.as_str()).collect(),
    }
}

const SMALL: usize = 100;
const LARGE: usize = 1024 * 1024;

/// What a plugin of these tests does when it is called.
enum Does {
    Accept,
    Reject,
    Fail,
    /// Fails so often in a way that a retry may mend, and accepts then.
    Recover(usize),
    Panic,
    /// Waits for what never comes, and notes when it is dropped.
    Hang(Arc<Notify>),
    /// Keeps its thread until it is let go.
    Block(Arc<AtomicBool>),
    /// Writes to the file that it is shown, and comes to no end.
    Spoil,
    /// Reads all by the stream, and notes the longest piece and the sum.
    Stream(Arc<AtomicUsize>, Arc<AtomicU64>),
}

struct Test {
    does: Does,
    calls: AtomicUsize,
    closed: Arc<Notify>,
    at_once: Option<usize>,
}

fn plugin(does: Does) -> Arc<Test> {
    Arc::new(Test { does, calls: AtomicUsize::new(0), closed: Arc::default(), at_once: None })
}

/// One call of each use at a time.
fn narrow(does: Does) -> Arc<Test> {
    Arc::new(Test { does, calls: AtomicUsize::new(0), closed: Arc::default(), at_once: Some(1) })
}

#[async_trait]
impl Plugin for Test {
    async fn close(&self) {
        self.closed.notify_one();
    }

    fn at_once(&self) -> Option<usize> {
        self.at_once
    }
}

impl Test {
    fn fail_at_first(&self, failures: usize) -> Result<(), PluginError> {
        match self.calls.load(Ordering::SeqCst) > failures {
            true => Ok(()),
            false => Err(PluginError::retryable(ErrorKind::Unavailable, "not yet")),
        }
    }
}

/// Accepts by making the name upper case; denies with a status that is none of a client's.
#[async_trait]
impl Admit for Test {
    async fn admit(&self, file: &sdk::Announcement) -> Result<sdk::Admission, PluginError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match &self.does {
            Does::Accept => {
                let file_name = Some(file.file_name.to_uppercase());
                Ok(sdk::Admission::Allow(sdk::Amendment { file_name, content_type: Some("text/x".to_owned()) }))
            }
            Does::Reject => Ok(sdk::Admission::deny(200, format!("not {}", file.file_name))),
            Does::Fail => Err(PluginError::permanent(ErrorKind::Internal, "secret words")),
            Does::Recover(failures) => self.fail_at_first(*failures).map(|()| sdk::Admission::allow()),
            Does::Panic => panic!("secret words"),
            _ => {
                let file_name = Some("../etc/passwd".to_owned());
                Ok(sdk::Admission::Allow(sdk::Amendment { file_name, content_type: None }))
            }
        }
    }
}

#[async_trait]
impl PostAssembly for Test {
    async fn follow_up(
        &self,
        file: &dyn FileHandle,
        publication: &sdk::Publication,
    ) -> Result<sdk::FollowUp, PluginError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        assert_eq!(file.metadata().id, publication.event_id);
        match &self.does {
            Does::Accept => {
                assert_eq!(publication.published, "2026-01-02T03:04:05.678+00:00");
                assert_eq!(publication.sha256.as_deref(), Some("0a".repeat(32).as_str()));
                assert!(file.read_at(0, 1).await.is_err(), "it was not opened");
                Ok(sdk::FollowUp::Done)
            }
            Does::Reject => Ok(sdk::FollowUp::Disable { reason: "gone".to_owned() }),
            Does::Fail => Err(PluginError::permanent(ErrorKind::Internal, "broken")),
            Does::Recover(failures) => self.fail_at_first(*failures).map(|()| sdk::FollowUp::Done),
            Does::Panic => panic!("secret words"),
            _ => std::future::pending().await,
        }
    }

    fn reads_content(&self) -> bool {
        !matches!(self.does, Does::Accept)
    }
}

#[async_trait]
impl Validate for Test {
    async fn validate(&self, file: &dyn FileHandle) -> Result<sdk::Verdict, PluginError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match &self.does {
            Does::Accept => {}
            Does::Reject => {
                let name = file.metadata().file_name.clone();
                return Ok(sdk::Verdict::Reject(vec![sdk::Issue {
                    path: "/x".to_owned(),
                    code: "test".to_owned(),
                    message: name,
                }]));
            }
            Does::Fail => return Err(PluginError::permanent(ErrorKind::Internal, "secret words")),
            Does::Recover(failures) => self.fail_at_first(*failures)?,
            Does::Panic => panic!("secret words"),
            Does::Hang(dropped) => {
                let _guard = OnDrop(dropped.clone());
                std::future::pending::<()>().await;
            }
            Does::Block(let_go) => {
                while !let_go.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            }
            Does::Spoil => {
                std::fs::write(file.local_path().unwrap(), "spoilt").unwrap();
                std::future::pending::<()>().await;
            }
            Does::Stream(longest, sum) => {
                let mut stream = file.stream();
                while let Some(piece) = sdk::next_piece(&mut stream).await {
                    let length = piece.map_err(|error| PluginError::read("read", error))?.len();
                    assert!(length > 0, "an empty piece");
                    longest.fetch_max(length, Ordering::SeqCst);
                    sum.fetch_add(length as u64, Ordering::SeqCst);
                }
            }
        }
        Ok(sdk::Verdict::Accept)
    }
}

struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn the_first_that_rejects_decides_and_the_next_is_not_asked() {
    let (accepts, rejects, last) = (plugin(Does::Accept), plugin(Does::Reject), plugin(Does::Panic));
    let hooks = hooks([("a", accepts.clone()), ("b", rejects.clone()), ("c", last.clone())]);
    for size in [0, SMALL, LARGE] {
        let verdict = hooks.validate(&[hook("a"), hook("b"), hook("c")], &candidate(vec![b'x'; size])).await;
        let Verdict::Reject(issues) = verdict else { panic!("accepted") };
        assert_eq!(issues, [Issue { path: "/x".into(), code: "test".into(), message: "comptes_2024.json".into() }]);
    }
    let calls = [accepts, rejects, last].map(|plugin| plugin.calls.load(Ordering::SeqCst));
    assert_eq!(calls, [3, 3, 0]);
}

#[tokio::test]
async fn a_chain_of_none_accepts() {
    assert_eq!(hooks([]).validate(&[], &candidate("x")).await, Verdict::Accept);
}

#[tokio::test]
async fn a_failure_and_a_panic_reject_and_tell_the_client_nothing_of_the_inside() {
    let hooks = hooks([("fails", plugin(Does::Fail)), ("panics", plugin(Does::Panic))]);
    for name in ["fails", "panics", "is-not-there"] {
        for size in [SMALL, LARGE] {
            let verdict = hooks.validate(&[hook(name)], &candidate(vec![b'x'; size])).await;
            assert_eq!(codes(&verdict), ["hook-failed"], "{name}");
            assert!(!format!("{verdict:?}").contains("secret"), "{verdict:?}");
        }
    }
}

#[tokio::test]
async fn past_its_deadline_a_call_is_dropped_and_the_file_rejected() {
    for size in [SMALL, LARGE] {
        let dropped = Arc::new(Notify::new());
        let hooks = hooks([("hangs", plugin(Does::Hang(dropped.clone())))]);
        let verdict = hooks.validate(&[impatient("hangs")], &candidate(vec![b'x'; size])).await;
        assert_eq!(codes(&verdict), ["hook-timeout"]);
        let Verdict::Reject(issues) = verdict else { unreachable!("it has a code") };
        assert_eq!(issues[0].message, "the check `hangs` took longer than 50ms");
        dropped.notified().await;
    }
}

/// The first never ends by itself; the one behind it begins when its deadline has ended it, and has all of its own.
#[tokio::test(start_paused = true)]
async fn who_waits_for_his_turn_has_not_begun() {
    let hanging = narrow(Does::Hang(Arc::default()));
    let hooks = hooks([("hangs", hanging.clone())]);
    let (hasty, patient, file) = ([impatient("hangs")], [hook("hangs")], candidate("x"));
    let began = tokio::time::Instant::now();
    let (first, second) = tokio::join!(hooks.validate(&hasty, &file), hooks.validate(&patient, &file));
    assert_eq!([codes(&first), codes(&second)], [["hook-timeout"], ["hook-timeout"]]);
    assert!(began.elapsed() >= Duration::from_millis(50 + 60_000), "{:?}", began.elapsed());
    assert_eq!(hanging.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_does_not_come_within_the_deadline_is_told_as_such() {
    let hanging = narrow(Does::Hang(Arc::default()));
    let hooks = hooks([("hangs", hanging.clone())]);
    let (patient, hasty, file) = ([hook("hangs")], [impatient("hangs")], candidate("x"));
    let (_, second) = tokio::join!(hooks.validate(&patient, &file), hooks.validate(&hasty, &file));
    assert_eq!((codes(&second), hanging.calls.load(Ordering::SeqCst)), (vec!["hook-busy"], 1));
    let Verdict::Reject(issues) = second else { unreachable!("it has a code") };
    assert_eq!(issues[0].message, "the check `hangs` had no time for it within 50ms; send it again later");
}

#[tokio::test(start_paused = true)]
async fn no_collection_and_no_stage_takes_the_turns_of_another() {
    let hanging = narrow(Does::Hang(Arc::default()));
    let hooks = hooks([("hangs", hanging.clone())]);
    let (uses, file) = ([hook("hangs")], candidate("x"));
    let other = Candidate { collection: "other".to_owned(), ..file.clone() };
    let admissions = [hook("hangs")];
    let began = tokio::time::Instant::now();
    let (here, there, admitted) = tokio::join!(
        hooks.validate(&uses, &file),
        hooks.validate(&uses, &other),
        hooks.admit(&admissions, announcement())
    );
    assert_eq!([codes(&here), codes(&there)], [["hook-timeout"], ["hook-timeout"]]);
    assert!(matches!(admitted, Admission::Deny(_)));
    assert_eq!((began.elapsed().as_secs(), hanging.calls.load(Ordering::SeqCst)), (60, 3));
    assert_eq!(hooks.at_once("hangs"), Some(1), "by which follow-ups are kept back");
}

/// A plugin that never awaits cannot be stopped, but whoever waits for it hears in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_holds_while_a_plugin_keeps_its_worker() {
    let let_go = Arc::new(AtomicBool::new(false));
    let hooks = Arc::new(hooks([("blocks", plugin(Does::Block(let_go.clone())))]));
    let verdict =
        tokio::spawn(async move { hooks.validate(&[impatient("blocks")], &candidate(vec![b'x'; LARGE])).await });
    let verdict = verdict.await;
    let_go.store(true, Ordering::SeqCst);
    assert_eq!(codes(&verdict.unwrap()), ["hook-timeout"]);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_call() {
    let dropped = Arc::new(Notify::new());
    let hanging = plugin(Does::Hang(dropped.clone()));
    let hooks = hooks([("hangs", hanging.clone())]);
    let asked = tokio::spawn(async move { hooks.validate(&[hook("hangs")], &candidate(vec![b'x'; LARGE])).await });
    while hanging.calls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    asked.abort();
    dropped.notified().await;
}

#[tokio::test]
async fn a_small_file_costs_neither_task_nor_timer() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let hooks = hooks([("a", plugin(Does::Accept))]);
    let file = candidate(vec![b'x'; ON_THE_SPOT as usize]);
    let before = metrics.num_alive_tasks();
    let uses = [hook("a")];
    let verdict = hooks.validate(&uses, &file).now_or_never();
    assert_eq!(verdict, Some(Verdict::Accept));
    assert_eq!(metrics.num_alive_tasks(), before);
}

#[tokio::test]
async fn a_large_file_is_handed_out_in_strides_with_turns_for_others_between() {
    let (longest, sum) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
    let hooks = hooks([("streams", plugin(Does::Stream(longest.clone(), sum.clone())))]);
    // On this one thread the counter moves only when the check yields.
    let turns = Arc::new(AtomicUsize::new(0));
    let counter = tokio::spawn({
        let turns = turns.clone();
        async move {
            loop {
                turns.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    let size = 10 * 1024 * 1024 + 1;
    assert_eq!(hooks.validate(&[hook("streams")], &candidate(vec![b'x'; size])).await, Verdict::Accept);
    counter.abort();
    assert_eq!(sum.load(Ordering::SeqCst), size as u64);
    assert_eq!(longest.load(Ordering::SeqCst), STRIDE as usize);
    let strides = size / STRIDE as usize;
    assert!(turns.load(Ordering::SeqCst) >= strides, "{turns:?} turns in {strides} strides");
}

fn collection(name: &str, plugins: &[&str]) -> Collection {
    Collection {
        name: name.into(),
        storage: "files".into(),
        path: PathTemplate::parse("{tenant}/{file_name}").unwrap(),
        extension: None,
        max_file_size: 1,
        sha256: false,
        verify: Verify::Off,
        admit: Vec::new(),
        validate: plugins.iter().map(|plugin| hook(plugin)).collect(),
        post_assembly: Vec::new(),
    }
}

#[test]
fn every_plugin_that_is_not_there_is_named() {
    let collections = [collection("one", &["no-such"]), collection("two", &["nor-such"])];
    let errors = Hooks::build(&collections, &BTreeMap::new(), Path::new(".")).err().unwrap();
    let errors: Vec<_> = errors.iter().map(BuildError::to_string).collect();
    assert_eq!(errors.len(), 2);
    assert!(errors[0].contains("`one`") && errors[0].contains("`no-such`"), "{errors:?}");
    assert!(errors[1].contains("`two`") && errors[1].contains("`nor-such`"), "{errors:?}");
}

#[cfg(feature = "plugin-json")]
#[tokio::test]
async fn the_relays_collection_takes_json_alone() {
    let societes = collection("societes", &["json"]);
    let hooks = Hooks::build([&societes, &societes], &BTreeMap::new(), Path::new(".")).unwrap();
    let uses = [hook("json")];
    let large = |end: &str| format!("[{}1{end}", "{\"compte\": \"é\"},\n".repeat(100_000));
    for good in ["{\"a\": [1, 2]}".to_owned(), large("]")] {
        assert_eq!(hooks.validate(&uses, &candidate(good)).await, Verdict::Accept);
    }
    for (bad, path) in [("{\"a\": [1, 2]".to_owned(), "1:13"), (large(",]"), "100001:3"), (String::new(), "1:1")] {
        let Verdict::Reject(issues) = hooks.validate(&uses, &candidate(bad)).await else { panic!("accepted") };
        assert_eq!(issues[0].path, path, "{issues:?}");
    }
}

#[tokio::test]
async fn a_use_is_for_the_files_that_it_names() {
    let hooks = hooks([("rejects", plugin(Does::Reject))]);
    let only = |pattern: &str| HookUse {
        files: Some(globset::Glob::new(pattern).unwrap().compile_matcher()),
        ..hook("rejects")
    };
    assert_eq!(hooks.validate(&[only("bilan_*")], &candidate("1")).await, Verdict::Accept);
    assert_ne!(hooks.validate(&[only("comptes_*")], &candidate("1")).await, Verdict::Accept);
}

#[tokio::test]
async fn where_a_use_says_so_a_failure_lets_the_file_through() {
    let hooks = hooks([
        ("panics", plugin(Does::Panic)),
        ("hangs", plugin(Does::Hang(Arc::default()))),
        ("rejects", plugin(Does::Reject)),
    ]);
    let lenient = |name: &str| HookUse { on_failure: OnCheckFailure::Accept, ..impatient(name) };
    assert_eq!(hooks.validate(&[lenient("panics"), lenient("hangs")], &candidate("1")).await, Verdict::Accept);
    assert_ne!(
        hooks.validate(&[lenient("rejects")], &candidate("1")).await,
        Verdict::Accept,
        "a verdict is no failure"
    );
}

#[cfg(feature = "plugin-json")]
#[tokio::test]
async fn a_declared_instance_has_its_options() {
    let plugin = PluginConfig { kind: "json".to_owned(), options: Options::from([("max_depth".to_owned(), 1.into())]) };
    let plugins = BTreeMap::from([("flat".into(), plugin)]);
    let hooks = Hooks::build([&collection("a", &["flat", "json"])], &plugins, Path::new(".")).unwrap();
    assert_eq!(hooks.validate(&[hook("json")], &candidate("[[1]]")).await, Verdict::Accept);
    assert_ne!(hooks.validate(&[hook("flat")], &candidate("[[1]]")).await, Verdict::Accept);
    assert_eq!(hooks.validate(&[hook("flat")], &candidate("[1]")).await, Verdict::Accept);
}

fn announcement() -> Announcement {
    Announcement {
        collection: "societes".to_owned(),
        tenant: "Société".to_owned(),
        file_name: "été.json".to_owned(),
        size: Some(7),
        content_type: None,
    }
}

fn denial(admission: Admission) -> (u16, String) {
    match admission {
        Admission::Deny(Denial { status, reason }) => (status, reason),
        Admission::Allow { file_name, .. } => panic!("{file_name} was admitted"),
    }
}

#[tokio::test]
async fn each_admission_sees_what_the_one_before_amended() {
    let (amends, denies, last) = (plugin(Does::Accept), plugin(Does::Reject), plugin(Does::Panic));
    let hooks = hooks([("a", amends), ("b", denies), ("c", last.clone())]);
    let admitted = hooks.admit(&[hook("a")], announcement()).await;
    let content_type = Some("text/x".to_owned());
    assert_eq!(admitted, Admission::Allow { file_name: "ÉTÉ.JSON".to_owned(), content_type });
    let denied = hooks.admit(&[hook("a"), hook("b"), hook("c")], announcement()).await;
    assert_eq!(denial(denied), (403, "not ÉTÉ.JSON".to_owned()), "a status that is no client's matter is none");
    assert_eq!(last.calls.load(Ordering::SeqCst), 0);
    // The amended name is what the next one's pattern is held against.
    let lower = HookUse { files: Some(globset::Glob::new("*.json").unwrap().compile_matcher()), ..hook("b") };
    assert!(matches!(hooks.admit(&[hook("a"), lower], announcement()).await, Admission::Allow { .. }));
}

#[tokio::test]
async fn what_cannot_be_asked_is_denied_and_says_nothing_of_the_inside() {
    let hooks = hooks([
        ("fails", plugin(Does::Fail)),
        ("panics", plugin(Does::Panic)),
        ("names-a-path", plugin(Does::Block(Arc::default()))),
    ]);
    for name in ["fails", "panics", "names-a-path", "is-not-there"] {
        let (status, reason) = denial(hooks.admit(&[hook(name)], announcement()).await);
        assert_eq!((status, reason), (403, format!("the hook `{name}` could not be carried out")));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_retry_may_mend_is_tried_again_after_each_wait() {
    let patient = |name: &str| HookUse { retry: [1, 5].map(Duration::from_secs).into(), ..hook(name) };
    let began = tokio::time::Instant::now();
    let (twice, fails) = (plugin(Does::Recover(2)), plugin(Does::Fail));
    let hooks = hooks([("twice", twice.clone()), ("thrice", plugin(Does::Recover(3))), ("fails", fails.clone())]);
    assert_eq!(hooks.validate(&[patient("twice")], &candidate("1")).await, Verdict::Accept);
    assert_eq!((began.elapsed().as_secs(), twice.calls.load(Ordering::SeqCst)), (6, 3));
    assert_eq!(codes(&hooks.validate(&[patient("thrice")], &candidate("1")).await), ["hook-failed"]);
    assert_eq!(codes(&hooks.validate(&[patient("fails")], &candidate("1")).await), ["hook-failed"]);
    assert_eq!(fails.calls.load(Ordering::SeqCst), 1, "a retry would not mend it");
    let again = HookUse { retry: [1].map(Duration::from_secs).into(), ..hook("twice") };
    assert!(matches!(hooks.admit(&[again], announcement()).await, Admission::Allow { .. }));
}

fn published() -> PublishedFile {
    PublishedFile {
        collection: "societes".to_owned(),
        tenant: String::new(),
        file_name: "a.json".to_owned(),
        size: 1,
        sha256: Some([10; 32]),
        version: "v".to_owned(),
        event_id: "e".to_owned(),
        published: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        attempt: 2,
        content: None,
    }
}

#[tokio::test]
async fn every_end_of_a_follow_up_is_told_apart() {
    let hooks = hooks([
        ("done", plugin(Does::Accept)),
        ("gone", plugin(Does::Reject)),
        ("broken", plugin(Does::Fail)),
        ("down", plugin(Does::Recover(9))),
        ("panics", plugin(Does::Panic)),
        ("hangs", plugin(Does::Hang(Arc::default()))),
    ]);
    assert!(!hooks.reads_content("done") && hooks.reads_content("gone") && !hooks.reads_content("is-not-there"));
    let ask = async |name: &str| hooks.follow_up(&impatient(name), published()).await;
    assert_eq!(ask("done").await, FollowUpOutcome::Done);
    assert_eq!(ask("gone").await, FollowUpOutcome::Disable { reason: "gone".to_owned() });
    for (name, words) in [("broken", "broken (internal)"), ("is-not-there", "no plugin")] {
        let FollowUpOutcome::GiveUp { reason } = ask(name).await else { panic!("{name} is not given up") };
        assert!(reason.contains(words), "{reason}");
    }
    for (name, words) in [("down", "not yet"), ("panics", "panicked"), ("hangs", "longer than 50ms")] {
        let FollowUpOutcome::Retry { reason, after: None } = ask(name).await else { panic!("{name} is not retried") };
        assert!(reason.contains(words), "{reason}");
    }
}

#[tokio::test]
async fn instances_are_closed_when_nobody_has_them_any_more() {
    let plugin = plugin(Does::Accept);
    let hooks = Arc::new(hooks([("a", plugin.clone())]));
    let held = hooks.clone();
    drop(hooks);
    tokio::task::yield_now().await;
    assert!(plugin.closed.notified().now_or_never().is_none(), "a request has them still");
    drop(held);
    let closed = plugin.closed.clone();
    drop(plugin);
    closed.notified().await;
}

/// A call that its deadline ended goes on where it cannot be stopped, and the plugin is not closed under it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_is_not_closed_while_a_call_keeps_its_thread() {
    let let_go = Arc::new(AtomicBool::new(false));
    let plugin = plugin(Does::Block(let_go.clone()));
    let hooks = hooks([("blocks", plugin.clone())]);
    let verdict = hooks.validate(&[impatient("blocks")], &candidate(vec![b'x'; LARGE])).await;
    assert_eq!(codes(&verdict), ["hook-timeout"]);
    drop(hooks);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(plugin.closed.notified().now_or_never().is_none(), "it was closed under its call");
    // Neither is it while this test holds it.
    let closed = plugin.closed.clone();
    drop(plugin);
    let_go.store(true, Ordering::SeqCst);
    closed.notified().await;
}

/// Whatever a failure means: what would be let through is not what came.
#[tokio::test]
async fn a_file_that_a_check_wrote_to_is_rejected() {
    let hooks = hooks([("spoils", plugin(Does::Spoil))]);
    let lenient = HookUse { on_failure: OnCheckFailure::Accept, ..impatient("spoils") };
    let content = Arc::new(OnDisk(tempfile::NamedTempFile::new().unwrap()));
    let verdict = hooks.validate(&[lenient], &Candidate { content, ..candidate("") }).await;
    assert_eq!(codes(&verdict), ["hook-changed-file"]);
}
