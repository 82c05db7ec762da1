//! The conformance suite for storages (`suite`), on every storage that this machine can have.
//!
//! The S3 run needs a server: `tests/services/s3` starts a real one. It is behind the feature `test-s3`, so that
//! a run without the server does not contain the tests, instead of passing them over in silence.

mod local;
mod suite;

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use crc_fast::CrcAlgorithm::Crc64Nvme;
use tempfile::TempDir;
use tidegate::files::port::{Staged, Storage};
use tidegate::storage::local::{Calls, LocalStorage};
use tokio::runtime::{Builder, Runtime};

/// A storage under test, and where its staged files come from.
pub struct Subject {
    pub storage: Arc<dyn Storage>,
    /// Whether an opened file keeps its bytes when it is replaced before it was read. A store with nothing open
    /// on its side ends the read in an error instead.
    pub opened_files_keep: bool,
    staging: TempDir,
    _root: Option<TempDir>,
}

impl Subject {
    pub fn stage(&self, content: &[u8]) -> Staged {
        let path = self.staging.path().join(uuid::Uuid::now_v7().to_string());
        std::fs::write(&path, content).unwrap();
        let file = Arc::new(File::options().read(true).write(true).open(&path).unwrap());
        let crc = crc_fast::checksum(Crc64Nvme, content);
        Staged { path, file, size: content.len() as u64, crc, sha256: None }
    }
}

/// A folder on the disk that the sources are built on.
fn disk() -> TempDir {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    tempfile::tempdir_in(target).unwrap()
}

/// A folder on another filesystem. A machine without one cannot run these tests: that is a failure.
fn other_filesystem() -> TempDir {
    tempfile::tempdir_in("/dev/shm").expect("the tests need /dev/shm, a filesystem in memory")
}

fn on_disk(calls: Calls, staging: TempDir) -> Subject {
    let root = disk();
    let storage = Arc::new(LocalStorage::open("files", root.path(), calls).unwrap());
    Subject { storage, opened_files_keep: true, staging, _root: Some(root) }
}

fn fs() -> Subject {
    on_disk(Calls::Native, disk())
}

fn fs_portable() -> Subject {
    on_disk(Calls::Portable, disk())
}

fn fs_from_another_filesystem() -> Subject {
    on_disk(Calls::Native, other_filesystem())
}

fn fs_portable_from_another_filesystem() -> Subject {
    on_disk(Calls::Portable, other_filesystem())
}

/// A storage as a section `[storage.files]` makes it.
fn configured(section: &str, opened_files_keep: bool) -> Subject {
    let config = toml::from_str(section).unwrap();
    let storage = tidegate::storage::build("files", &config).unwrap();
    Subject { storage, opened_files_keep, staging: disk(), _root: None }
}

fn memory() -> Subject {
    configured("service = \"memory\"", true)
}

#[cfg(feature = "test-s3")]
fn s3() -> Subject {
    let variable = |name: &str| {
        let name = format!("TIDEGATE_TEST_S3_{name}");
        std::env::var(&name).unwrap_or_else(|_| panic!("{name} is not set: run this with tests/services/s3"))
    };
    // Each test has a root of its own in the bucket.
    let section = format!(
        "service = \"s3\"\nendpoint = {:?}\nbucket = {:?}\nregion = \"us-east-1\"\naccess_key_id = {:?}\n\
         secret_access_key = {:?}\nroot = {:?}",
        variable("ENDPOINT"),
        variable("BUCKET"),
        variable("KEY"),
        variable("SECRET"),
        format!("/tests/{}", uuid::Uuid::now_v7()),
    );
    configured(&section, false)
}

/// One runtime for all of these tests, as the gateway has one. OpenDAL's HTTP client is one for the process, and each
/// of its connections lives on the runtime that opened it: a test with a runtime of its own would end the connections
/// that other tests read from.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// Runs every function of the suite on a subject, each on a new one.
macro_rules! conforms {
    ($($subject:ident: $($test:ident)*;)*) => {$(
        mod $subject {
            $(
                #[test]
                fn $test() {
                    super::super::RUNTIME.block_on(super::super::suite::$test(&super::super::$subject()));
                }
            )*
        }
    )*};
}

macro_rules! all_conform {
    ($($subject:ident)*) => {
        conforms! {$(
            $subject:
                a_new_file_appears_when_it_is_placed
                a_file_given_up_leaves_no_trace
                a_replaced_file_is_another_one
                an_expected_absence_is_kept
                readers_see_one_version_whole
                a_file_opened_before_is_read_whole
                ranges_are_exact
                large_files_arrive_whole
                thousands_of_files_are_listed
                hidden_and_inner_files_are_not_listed
                only_the_file_that_is_meant_is_removed
                odd_names_are_only_names
                undo_brings_back_what_was_there
                a_placed_file_is_found_again
                what_is_not_there_is_nothing
                a_sweep_leaves_published_files;
        )*}
    };
}

mod conformance {
    all_conform! { fs fs_portable fs_from_another_filesystem fs_portable_from_another_filesystem memory }

    #[cfg(feature = "test-s3")]
    all_conform! { s3 }
}
