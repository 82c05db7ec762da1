//! A full disk under staging, and under the catalog: 507, and once there is room again it goes on without a restart.

use std::fs;
use std::process::Command;

use super::*;

/// The gateway in a mount namespace of its own, with `folder` on a disk of four megabytes.
fn start_with_small(folder: &str, config: &str) -> Relay {
    let may = Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success());
    assert!(may, "no mount namespace can be made here: run the tests as root, or allow user namespaces");
    let place = tempfile::tempdir().unwrap();
    fs::create_dir_all(place.path().join(folder)).unwrap();
    let mut command = Command::new("unshare");
    let script = format!("mount -t tmpfs -o size=4m none {folder} && exec \"$0\"");
    command.args(["-rm", "sh", "-c", &script, env!("CARGO_BIN_EXE_tidegate")]);
    Relay::of(Start::by(place, config, command))
}

impl Relay {
    /// A file that takes all the room there is on the small disk.
    fn filler(&self, folder: &str) -> std::path::PathBuf {
        let root = format!("/proc/{}/root", self.process.id());
        std::path::Path::new(&root).join(self.process.folder().strip_prefix("/").unwrap()).join(folder).join("filler")
    }
}

fn fill(filler: &std::path::Path) {
    use std::io::Write;
    let mut file = fs::File::create(filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
}

async fn goes_on_after_a_full_disk(relay: Relay, folder: &str, size: usize) {
    assert_eq!(relay.upload("a", "before.json", "1").await.0, 200);
    let filler = relay.filler(folder);
    fill(&filler);
    let mut refused = 0;
    for number in 0..20 {
        let (status, body) = relay.upload("b", &format!("{number}.json"), accounts(size)).await;
        match status {
            507 => refused += 1,
            // What the catalog has room for in a page that it has already.
            200 => continue,
            _ => panic!("{status}: {body}"),
        }
        assert_eq!(keys(&body), ["detail"]);
        assert_eq!(relay.content("b", &format!("{number}.json")).await.unwrap_err(), 404);
    }
    assert!(refused > 0, "the disk was never full");
    assert_eq!(relay.content("a", "before.json").await.unwrap(), b"1");
    fs::remove_file(filler).unwrap();
    eventually("there is room again", async || relay.upload("c", "after.json", accounts(size)).await.0 == 200).await;
    assert_eq!(relay.content("c", "after.json").await.unwrap(), accounts(size).as_bytes());
    let log = relay.process.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn under_staging() {
    let config = format!("{RELAY}[staging]\npath = \"small\"\n");
    let relay = start_with_small("small", &config);
    goes_on_after_a_full_disk(relay, "small", 200_000).await;
}

#[tokio::test]
async fn under_the_catalog() {
    let config = format!("{RELAY}[catalog]\npath = \"small/tidegate.db\"\n");
    let relay = start_with_small("small", &config);
    goes_on_after_a_full_disk(relay, "small", 1_000).await;
}
