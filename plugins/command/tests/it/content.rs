//! What a command is given: the question, the content, its folder, its environment.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_plugin_command::Config;
use tidegate_plugin_sdk::testing::{MemoryFile, announcement, publication};
use tidegate_plugin_sdk::{Admit, ErrorKind, FollowUp, PostAssembly, Verdict};

use crate::support::{Instance, instance, python, python_with};

const NAME: &str = "Société d'Œuvre – « été » (1).tar.json";

fn noted(instance: &Instance, name: &str) -> Value {
    serde_json::from_str(&instance.note(name)).unwrap()
}

#[tokio::test]
async fn the_question_has_all_that_is_known() {
    let instance = python("note('asked', json.dumps(asked))");
    instance.command.admit(&announcement("a.json").with(Some(7), None)).await.unwrap();
    assert_eq!(
        noted(&instance, "asked"),
        json!({
            "stage": "admit", "id": "question-1", "collection": "test", "tenant": "tenant", "file_name": "a.json",
            "size": 7, "content_type": null,
        })
    );

    let instance = python("note('asked', json.dumps(asked))");
    let file = MemoryFile::new("a.json", "[1]").declared("application/json");
    assert_eq!(instance.command.follow_up(&file, &publication("event-1")).await.unwrap(), FollowUp::Done);
    let mut asked = noted(&instance, "asked");
    let path = asked.as_object_mut().unwrap().remove("path").unwrap();
    assert!(path.as_str().unwrap().ends_with("/content/a.json"), "{path}");
    for (member, value) in [("stage", "post_assembly"), ("content_type", "application/json"), ("tenant", "tenant")] {
        assert_eq!(asked[member], value);
    }
    assert_eq!((&asked["size"], &asked["attempt"]), (&json!(3), &json!(1)));
}

#[tokio::test]
async fn the_content_has_its_own_name_as_a_copy_and_as_a_link() {
    let elsewhere = TempDir::new().unwrap();
    let stored = elsewhere.path().join("0199c3a2");
    let content = "é".repeat(100_000);
    fs::write(&stored, &content).unwrap();
    let file = MemoryFile::new(NAME, content.clone()).in_pieces_of(30_001);
    for file in [file.clone(), file.at_path(&stored)] {
        let program = "import shutil\nassert sys.argv[1] == asked['path'] and os.path.isabs(sys.argv[1])\n\
            note('name', os.path.basename(sys.argv[1]))\nshutil.copy(sys.argv[1], os.environ['NOTES'] + '/copy')";
        let instance = python_with(program, |config| config.command.push("{path}".to_owned()));
        assert_eq!(instance.validate(&file).await.unwrap(), Verdict::Accept);
        assert_eq!(instance.note("name").trim(), NAME);
        assert!(instance.note("copy") == content);
        instance.assert_clean();
    }
    assert!(fs::read_to_string(&stored).unwrap() == content, "the link went, and not what it led to");
}

/// As a file is given that was replaced or deleted since it was opened.
#[tokio::test]
async fn a_file_that_is_only_open_can_be_read() {
    let folder = TempDir::new().unwrap();
    let stored = folder.path().join("a");
    fs::write(&stored, "the old one").unwrap();
    let open = fs::File::open(&stored).unwrap();
    fs::remove_file(&stored).unwrap();
    fs::write(&stored, "the new one").unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd());
    let instance = python("note('content', open(asked['path']).read())");
    let file = MemoryFile::new("a.txt", "the old one").at_path(path);
    assert_eq!(instance.validate(&file).await.unwrap(), Verdict::Accept);
    assert_eq!(instance.note("content").trim(), "the old one");
}

#[tokio::test]
async fn the_folder_is_private_empty_and_gone_afterwards() {
    let instance = python(
        "note('folder', json.dumps([os.getcwd(), os.listdir('.'), os.stat('.').st_mode & 0o777,\n\
             os.stat('..').st_mode & 0o777, os.environ['HOME'], os.environ['TMPDIR'], os.environ['TIDEGATE_RUN']]))\n\
         os.makedirs('a/b'); open('a/b/c', 'w').write('left'); os.chmod('a', 0o500); os.symlink('/', 'root')",
    );
    assert_eq!(instance.verdict().await.unwrap(), Verdict::Accept);
    let noted = noted(&instance, "folder");
    let home = noted[0].as_str().unwrap();
    assert!(Path::new(home).starts_with(instance.root().canonicalize().unwrap()), "{home}");
    assert_eq!((&noted[1], &noted[2], &noted[3]), (&json!([]), &json!(0o700), &json!(0o700)));
    assert_eq!((noted[4].as_str(), noted[5].as_str()), (Some(home), Some(home)));
    assert_eq!(Path::new(home).parent(), noted[6].as_str().map(Path::new));
    instance.assert_clean();
}

/// Names come from clients, and Python looks for modules where it runs.
#[tokio::test]
async fn a_file_is_not_run_because_of_its_name() {
    let instance = instance(&["python3", "-c", "import shlex"], |_| {});
    let file = MemoryFile::new("shlex.py", "raise SystemExit(65)");
    assert_eq!(instance.validate(&file).await.unwrap(), Verdict::Accept);
}

#[tokio::test]
async fn the_environment_is_clean() {
    let instance = python_with("note('environment', json.dumps(dict(os.environ)))", |config| {
        config.environment.0.insert("ERP_TOKEN".to_owned(), "é = $HOME".to_owned());
    });
    instance.verdict().await.unwrap();
    let environment = noted(&instance, "environment");
    let names: BTreeSet<&str> = environment.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["ERP_TOKEN", "HOME", "LANG", "NOTES", "PATH", "TIDEGATE_RUN", "TMPDIR"]));
    assert_eq!((&environment["LANG"], &environment["ERP_TOKEN"]), (&json!("C.UTF-8"), &json!("é = $HOME")));
    assert_eq!(environment["PATH"], "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");

    let own = python_with("note('path', os.environ['PATH'])", |config| {
        config.environment.0.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    });
    own.verdict().await.unwrap();
    assert_eq!(own.note("path").trim(), "/usr/bin:/bin");
}

#[tokio::test]
async fn no_open_file_is_inherited() {
    let open = tempfile::NamedTempFile::new().unwrap();
    let instance = python(
        "for number in os.listdir('/proc/self/fd'):\n    try: note('open', os.readlink('/proc/self/fd/' + number))\n    except OSError: pass",
    );
    instance.verdict().await.unwrap();
    let inherited = instance.note("open");
    assert!(inherited.contains("pipe:") && !inherited.contains(open.path().to_str().unwrap()), "{inherited}");
}

#[tokio::test]
async fn without_content_there_is_no_path() {
    let without = |config: &mut Config| config.content = false;
    let instance = python_with("sys.exit(65 if 'path' in asked or os.listdir('../content') else 0)", without);
    assert!(!instance.command.reads_content());
    // It would fail if it were read.
    let file = MemoryFile::new("a.json", "{}").breaking_at(0);
    assert_eq!(instance.validate(&file).await.unwrap(), Verdict::Accept);
    assert_eq!(instance.command.follow_up(&file, &publication("1")).await.unwrap(), FollowUp::Done);
    assert!(python("pass").command.reads_content());
}

#[tokio::test]
async fn an_argument_with_the_path_is_an_error_where_there_is_none() {
    let instance = instance(&["/bin/sh", "-c", "exit 0", "{path}"], |_| {});
    let error = instance.command.admit(&announcement("a.json")).await.unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Config, false));
    assert!(error.context.contains("{path}"), "{error}");
}

#[tokio::test]
async fn content_that_cannot_be_read_is_an_error() {
    let instance = python("note('ran', '')");
    let error = instance.validate(&MemoryFile::new("a", vec![7; 200_000]).breaking_at(100_000)).await.unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Read, true));
    let error = instance.validate(&MemoryFile::new("a", "x").at_path("/no/such/file")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Read);
    instance.becomes_clean().await;
    assert_eq!(instance.note("ran"), "");
}

/// The sandbox is what everybody may use to do less than before: root has capabilities to lose, and others can become root of a namespace
/// of users. Where the machine allows neither, the test fails.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_command_in_a_sandbox_gets_a_copy() {
    let folder = TempDir::new().unwrap();
    let stored = folder.path().join("0199c3a2");
    let content = vec![b'x'; 3 << 20];
    fs::write(&stored, &content).unwrap();
    let open = fs::File::open(&stored).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd());
    let file = MemoryFile::new("a.bin", content).at_path(path);

    let sandbox = match rustix::process::geteuid().is_root() {
        true => ["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
        false => ["unshare", "--user", "--map-root-user"],
    };
    let script = "test $(wc -c < \"$1\") = 3145728 || exit 65";
    let command = [&sandbox[..], &["/bin/sh", "-c", script, "sh", "{path}"]].concat();
    let with_a_copy = instance(&command, |config| config.copy_content = true);
    assert_eq!(with_a_copy.validate(&file).await.unwrap(), Verdict::Accept);
    assert_eq!(with_a_copy.command.follow_up(&file, &publication("1")).await.unwrap(), FollowUp::Done);
    with_a_copy.assert_clean();

    let with_a_link = instance(&command, |_| {});
    let verdict = with_a_link.validate(&file).await.unwrap();
    assert!(matches!(verdict, Verdict::Reject(_)), "it can follow the link nowadays: say so in the README");
}

#[tokio::test]
async fn a_check_that_writes_to_the_file_has_refused_it() {
    let folder = TempDir::new().unwrap();
    let stored = folder.path().join("a");
    for (program, name) in [
        ("open(asked['path'], 'r+').write('X')", "writes"),
        ("open(asked['path'], 'a').write('X'); sys.exit(1)", "appends and fails"),
        ("os.truncate(asked['path'], 0); print('{}')", "cuts"),
        ("os.remove(os.path.realpath(asked['path']))", "removes"),
        ("open(asked['path'], 'r+').write('X'); print(' ' * 1000000)", "says too much, too"),
    ] {
        fs::write(&stored, "content").unwrap();
        // Within one tick of the file system's clock two changes look like one.
        fs::File::open(&stored).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let file = MemoryFile::new("a.txt", "content").at_path(&stored);
        let instance = python(program);
        let Verdict::Reject(issues) = instance.validate(&file).await.unwrap() else { panic!("{name}: accepted") };
        assert_eq!(issues[0].code, "command-changed-file", "{name}");
        instance.assert_clean();
    }
    fs::write(&stored, "content").unwrap();
    fs::File::open(&stored).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let file = MemoryFile::new("a.txt", "content").at_path(&stored);
    let ended =
        python("open(asked['path'], 'r+').write('X')").command.follow_up(&file, &publication("1")).await.unwrap();
    assert!(matches!(ended, FollowUp::GiveUp { .. }), "{ended:?}");
}

#[tokio::test]
async fn a_copy_may_be_changed() {
    let instance = python("os.chmod(asked['path'], 0o600); open(asked['path'], 'w').write('X')");
    assert_eq!(instance.verdict().await.unwrap(), Verdict::Accept);
}

/// A newer version that takes the place of the file is no change of it.
#[tokio::test]
async fn a_file_that_is_replaced_meanwhile_is_not_changed() {
    let folder = TempDir::new().unwrap();
    let stored = folder.path().join("a");
    fs::write(&stored, "one").unwrap();
    let open = fs::File::open(&stored).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd());
    let instance = python_with("os.rename(sys.argv[1] + '/new', sys.argv[1] + '/a')", |config| {
        config.command.push(folder.path().to_str().unwrap().to_owned());
    });
    fs::write(folder.path().join("new"), "two").unwrap();
    let file = MemoryFile::new("a.txt", "one").at_path(path);
    assert_eq!(instance.validate(&file).await.unwrap(), Verdict::Accept);
    assert_eq!(fs::read_to_string(&stored).unwrap(), "two");
}
