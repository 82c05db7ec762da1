//! Follow-ups over a real catalog and a real folder: what becomes of one whose file, storage or hook is not what it was.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tempfile::TempDir;
use tidegate::catalog::Sqlite;
use tidegate::catalog::config::Durability;
use tidegate::collection::{
    Collection, HookUse, OnAdmitFailure, OnCheckFailure, OnFollowUpFailure, PathTemplate, Verify,
};
use tidegate::fault::FaultKind;
use tidegate::files::port::{
    Admission, Announcement, Candidate, FollowUpOutcome, HookChain, PublishedFile, Storage, Verdict,
};
use tidegate::files::{Files, Places};
use tidegate::follow_ups::port::{Catalog, Filter, FollowUpId, FollowUpState, HookName, Selection};
use tidegate::follow_ups::{Attempted, FollowUps};
use tidegate::jobs::Queue;
use tidegate::storage;
use tidegate::storage::config::StorageConfig;

/// Accepts everything, and answers follow-ups as it is told. Keeps what it read.
struct Told {
    outcome: Mutex<FollowUpOutcome>,
    read: Mutex<Vec<Vec<u8>>>,
}

#[async_trait]
impl HookChain for Told {
    async fn admit(&self, _: &[HookUse<OnAdmitFailure>], file: Announcement) -> Admission {
        Admission::Allow { file_name: file.file_name, content_type: file.content_type }
    }

    async fn validate(&self, _: &[HookUse<OnCheckFailure>], _: &Candidate) -> Verdict {
        Verdict::Accept
    }

    fn reads_content(&self, plugin: &str) -> bool {
        plugin != "blind"
    }

    fn at_once(&self, _: &str) -> Option<usize> {
        None
    }

    async fn follow_up(&self, _: &HookUse<OnFollowUpFailure>, file: PublishedFile) -> FollowUpOutcome {
        let content = match &file.content {
            Some(content) => content.read_at(0, file.size as usize).await.unwrap().to_vec(),
            None => b"unread".to_vec(),
        };
        self.read.lock().push(content);
        self.outcome.lock().clone()
    }
}

struct Scene {
    folder: TempDir,
    catalog: Arc<Sqlite>,
    files: Files,
    collection: Arc<Collection>,
    storage: Arc<dyn Storage>,
    told: Arc<Told>,
}

fn hook(plugin: &str, on_failure: OnFollowUpFailure) -> HookUse<OnFollowUpFailure> {
    let timeout = Duration::from_secs(60);
    HookUse { plugin: plugin.into(), files: None, timeout, retry: Arc::default(), on_failure }
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("files");
        std::fs::create_dir_all(root.join("acme")).unwrap();
        let options = [("root".to_owned(), root.to_str().unwrap().to_owned())].into();
        let storage: Arc<dyn Storage> =
            storage::build("disk", &StorageConfig { service: "fs".to_owned(), options }).unwrap();
        let (catalog, _) = Sqlite::open(&folder.path().join("catalog.db"), Durability::Process, "boot").unwrap();
        let catalog = Arc::new(catalog);
        let collection = Arc::new(Collection {
            name: "societes".into(),
            storage: "disk".into(),
            path: PathTemplate::parse("{tenant}/{file_name}").unwrap(),
            extension: None,
            max_file_size: 1 << 20,
            sha256: false,
            verify: Verify::Off,
            admit: Vec::new(),
            validate: Vec::new(),
            post_assembly: vec![hook("archive", OnFollowUpFailure::DeadLetter), hook("blind", OnFollowUpFailure::Drop)],
        });
        let told = Arc::new(Told { outcome: FollowUpOutcome::Done.into(), read: Mutex::default() });
        let places = places(Some(&collection), Some(&storage), &told);
        let files = Files::new(catalog.clone(), places, false);
        Self { folder, catalog, files, collection, storage, told }
    }

    fn follow_ups(&self) -> FollowUps {
        FollowUps::new(self.catalog.clone(), self.files.clone())
    }

    /// As after a reload that left these.
    fn left_with(&self, collection: Option<&Arc<Collection>>, storage: Option<&Arc<dyn Storage>>) -> FollowUps {
        self.follow_ups().with_files(self.files.with_places(places(collection, storage, &self.told)))
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("files/acme/a.json")
    }

    /// Puts a file there as other programs do, and has it found; claims what that owes, the archive's and the blind one's.
    async fn publish(&self, content: &str) -> [FollowUpId; 2] {
        std::fs::write(self.path(), content).unwrap();
        self.files.sync(&self.collection, "acme").await.unwrap().unwrap();
        let queue = tidegate::catalog::FollowUpQueue(self.catalog.clone());
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
        let claimed = queue.claim(&[("societes/archive", 9), ("societes/blind", 9)], now).await.unwrap();
        let [archive, blind] = &*claimed else { panic!("{claimed:?}") };
        [FollowUpId(archive.id), FollowUpId(blind.id)]
    }

    fn read(&self) -> Vec<String> {
        self.told.read.lock().drain(..).map(|content| String::from_utf8(content).unwrap()).collect()
    }
}

fn places(collection: Option<&Arc<Collection>>, storage: Option<&Arc<dyn Storage>>, told: &Arc<Told>) -> Arc<Places> {
    Arc::new(Places {
        collections: collection.map(|it| (it.name.to_string(), it.clone())).into_iter().collect(),
        storages: storage.map(|it| ("disk".to_owned(), it.clone())).into_iter().collect(),
        fingerprints: HashMap::new(),
        hooks: told.clone(),
    })
}

fn given_up(attempted: Attempted) -> String {
    let Attempted::GiveUp { reason } = attempted else { panic!("{attempted:?}") };
    reason
}

#[tokio::test]
async fn a_file_that_was_only_touched_is_followed_up() {
    let scene = Scene::new();
    let [archive, blind] = scene.publish("one").await;
    std::fs::set_permissions(scene.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(scene.follow_ups().carry_out(archive, 1).await, Attempted::Done);
    assert_eq!(scene.follow_ups().carry_out(blind, 1).await, Attempted::Done);
    assert_eq!(scene.read(), ["one", "unread"]);
}

#[tokio::test]
async fn a_version_that_was_replaced_or_deleted_is_not_shown_to_anybody() {
    let scene = Scene::new();
    let [archive, blind] = scene.publish("one").await;
    // Not found by anybody yet.
    std::fs::write(scene.path(), "another").unwrap();
    assert_eq!(scene.follow_ups().carry_out(archive, 1).await, Attempted::Done);
    assert_eq!(scene.read(), Vec::<String>::new());
    // Whoever needs no content is told all the same.
    assert_eq!(scene.follow_ups().carry_out(blind, 1).await, Attempted::Done);
    assert_eq!(scene.read(), ["unread"]);
    // What took its place is owed a run of its own.
    let owed = Filter { hook: Some(HookName::new("societes", "archive")), state: Some(FollowUpState::Owed) };
    let rows = scene.catalog.follow_ups(&owed, None, 9).await.unwrap();
    assert_eq!(rows.len(), 1);
    std::fs::remove_file(scene.path()).unwrap();
    assert_eq!(scene.follow_ups().carry_out(rows[0].id, 1).await, Attempted::Done);
    assert_eq!(scene.read(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_not_configured_any_more_is_given_up_with_the_reason() {
    let scene = Scene::new();
    let [archive, blind] = scene.publish("one").await;
    let without_storage = scene.left_with(Some(&scene.collection), None);
    assert!(given_up(without_storage.carry_out(archive, 1).await).contains("storage `disk` is not configured"));
    let bare = Collection { post_assembly: Vec::new(), ..(*scene.collection).clone() };
    let without_hook = scene.left_with(Some(&Arc::new(bare)), Some(&scene.storage));
    assert!(given_up(without_hook.carry_out(archive, 1).await).contains("has no hook `archive`"));
    let without_collection = scene.left_with(None, Some(&scene.storage));
    assert!(given_up(without_collection.carry_out(blind, 1).await).contains("the collection `societes`"));
    assert_eq!(scene.read(), Vec::<String>::new());
    // Whatever the hook's outcome was to be: nobody can say now.
    without_hook.give_up(blind, "gone").await.unwrap();
    assert_eq!(without_hook.find(blind).await.unwrap().unwrap().0.state, FollowUpState::Dead);
}

#[tokio::test]
async fn a_hook_that_is_switched_off_is_asked_no_more_until_it_is_retried() {
    let scene = Scene::new();
    let follow_ups = scene.follow_ups();
    let [first, _] = scene.publish("one").await;
    *scene.told.outcome.lock() = FollowUpOutcome::Disable { reason: "410 Gone".to_owned() };
    assert_eq!(given_up(follow_ups.carry_out(first, 1).await), "410 Gone");
    follow_ups.give_up(first, "410 Gone").await.unwrap();
    *scene.told.outcome.lock() = FollowUpOutcome::Done;
    let [second, _] = scene.publish("two").await;
    let reason = given_up(follow_ups.carry_out(second, 1).await);
    assert!(reason.contains("switched off") && reason.contains("410 Gone"), "{reason}");
    assert_eq!(scene.read(), ["one"]);
    let off = follow_ups.hooks().await.unwrap().into_iter().find(|hook| hook.counts.hook.plugin == "archive").unwrap();
    assert_eq!((off.is_configured, off.off.unwrap().reason.as_str()), (true, "410 Gone"));

    assert_eq!(follow_ups.retry(&Selection::One(first)).await.unwrap(), 1);
    assert_eq!(follow_ups.carry_out(second, 2).await, Attempted::Done);
    assert_eq!(scene.read(), ["two"]);
}

#[tokio::test]
async fn the_last_failure_means_what_the_hook_says() {
    let scene = Scene::new();
    let follow_ups = scene.follow_ups();
    let [archive, blind] = scene.publish("one").await;
    follow_ups.give_up(archive, "it is down").await.unwrap();
    follow_ups.give_up(blind, "it is down").await.unwrap();
    let (row, attempts) = follow_ups.find(archive).await.unwrap().unwrap();
    assert_eq!((row.state, row.reason.as_deref(), attempts.len()), (FollowUpState::Dead, Some("it is down"), 1));
    assert_eq!(follow_ups.find(blind).await.unwrap(), None, "`drop`");
    // It may have been discarded meanwhile.
    assert_eq!(follow_ups.carry_out(blind, 1).await, Attempted::Done);
    follow_ups.give_up(blind, "it is down").await.unwrap();
    assert_eq!(scene.read(), Vec::<String>::new());
}

#[tokio::test]
async fn orphans_are_buried_and_what_a_newer_configuration_owes_is_not() {
    let scene = Scene::new();
    let bare = Collection { post_assembly: Vec::new(), ..(*scene.collection).clone() };
    let without = scene.left_with(Some(&Arc::new(bare)), Some(&scene.storage));
    let before = without.last().await.unwrap();
    std::fs::write(scene.path(), "one").unwrap();
    scene.files.sync(&scene.collection, "acme").await.unwrap();
    let states = async || {
        let rows = scene.catalog.follow_ups(&Filter::default(), None, 9).await.unwrap();
        rows.into_iter().map(|row| row.state).collect::<Vec<_>>()
    };
    without.bury_orphans(before).await.unwrap();
    assert_eq!(states().await, [FollowUpState::Owed; 2], "they came after the look at what is configured");
    without.bury_orphans(without.last().await.unwrap()).await.unwrap();
    assert_eq!(states().await, [FollowUpState::Dead; 2]);
    assert!(!scene.follow_ups().is_known(&HookName::new("societes", "none")).await.unwrap());
    assert!(without.is_known(&HookName::new("societes", "blind")).await.unwrap(), "it has follow-ups");
}

/// A file that stays recorded and cannot be opened is not taken for one that is gone.
#[tokio::test]
async fn a_file_that_cannot_be_opened_is_tried_again() {
    let scene = Scene::new();
    let [archive, _] = scene.publish("one").await;
    // Nothing takes files of this template up, so the record stays as it is.
    let fixed = Collection { path: PathTemplate::parse("acme/{file_name}").unwrap(), ..(*scene.collection).clone() };
    std::fs::set_permissions(scene.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let attempted = scene.left_with(Some(&Arc::new(fixed)), Some(&scene.storage)).carry_out(archive, 1).await;
    let Attempted::Retry { reason, after: None } = attempted else { panic!("{attempted:?}") };
    assert!(reason.contains("another program changed it"), "{reason} ({:?})", FaultKind::Unavailable);
}
