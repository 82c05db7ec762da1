//! Where published files lie: one adapter for local disks and one for everything else that OpenDAL speaks,
//! both behind [`crate::files::port::Storage`]. Which file is the valid one is the catalog's word, not ours.

pub mod config;
pub mod local;
pub mod object;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opendal::Operator;
use opendal::layers::{RetryLayer, TimeoutLayer};

use crate::fault::Fault;
use crate::files::port::{Capabilities, Storage};
use config::{FS, StorageConfig, said};
use local::LocalStorage;
use object::ObjectStorage;

/// What a local disk can do.
const LOCAL: Capabilities =
    Capabilities { atomic_replace: true, ranges: true, list: true, delete: true, append: true, shared_folder: true };

/// One call that moves no content: a stat, a delete, a page of a listing.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// One piece of content. Never the whole: large files take as long as they take.
const PIECE_DEADLINE: Duration = Duration::from_secs(60);

/// The storage of a section. Nothing is dialled; a local folder is made if it is missing.
pub fn build(name: &str, config: &StorageConfig) -> Result<Arc<dyn Storage>, Fault> {
    let failed = |reason: String| Fault::broken(format!("set up the storage {name:?}"), reason);
    if config.service == FS {
        let root = root_of(&config.options).map_err(failed)?;
        let storage = LocalStorage::open(name, Path::new(root), local::Calls::Native)
            .map_err(|error| Fault::io(format!("open the folder {root:?} of the storage {name:?}"), error))?;
        return Ok(Arc::new(storage));
    }
    let operator = operator(&config.service, &config.options).map_err(failed)?;
    Ok(Arc::new(ObjectStorage::new(name, operator)))
}

/// What a storage of that configuration will be able to do, or what is wrong with the configuration. Touches
/// neither disk nor network.
pub fn capabilities_of(service: &str, options: &BTreeMap<String, String>) -> Result<Capabilities, String> {
    let services = config::services();
    let Some(known) = services.iter().find(|known| known.scheme == service) else {
        let schemes: Vec<_> = services.iter().map(|known| known.scheme).collect();
        return Err(format!("there is no service {service:?}; compiled in are {}", schemes.join(", ")));
    };
    (known.check)(options)?;
    if service == FS { Ok(LOCAL) } else { Ok(object::capabilities(&operator(service, options)?)) }
}

fn root_of(options: &BTreeMap<String, String>) -> Result<&str, String> {
    options.get("root").map(String::as_str).ok_or_else(|| "`root` is missing".to_owned())
}

/// OpenDAL's operator, patient with what crosses a network.
fn operator(service: &str, options: &BTreeMap<String, String>) -> Result<Operator, String> {
    let options = options.iter().map(|(key, value)| (key.clone(), value.clone()));
    let operator = Operator::via_iter(service, options).map_err(|error| said(&error))?;
    if service == opendal::services::MEMORY_SCHEME {
        return Ok(operator);
    }
    let deadlines = TimeoutLayer::new().with_timeout(CALL_DEADLINE).with_io_timeout(PIECE_DEADLINE);
    let retries = RetryLayer::new().with_max_times(3).with_max_delay(Duration::from_secs(5)).with_jitter();
    Ok(operator.layer(deadlines).layer(retries))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn capabilities_are_told_without_input_or_output() {
        let missing = "/nonexistent/folder";
        assert!(capabilities_of("fs", &options(&[("root", missing)])).unwrap().append);
        assert!(!Path::new(missing).exists());
        let s3 = [("bucket", "b"), ("region", "r"), ("endpoint", "http://192.0.2.1"), ("root", "/x")];
        let s3 = capabilities_of("s3", &options(&s3)).unwrap();
        assert!(s3.atomic_replace && s3.ranges && s3.list && s3.delete && !s3.append && !s3.shared_folder);
        let webdav = capabilities_of("webdav", &options(&[("endpoint", "http://192.0.2.1")])).unwrap();
        assert!(webdav.atomic_replace && webdav.list);
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let said = |service: &str, pairs: &[(&str, &str)]| capabilities_of(service, &options(pairs)).unwrap_err();
        assert!(said("ftp", &[]).contains("fs, memory, s3, gcs, azblob, webdav"));
        assert!(said("fs", &[]).contains("`root`"));
        assert!(said("s3", &[("region", "r")]).contains("bucket"), "{}", said("s3", &[("region", "r")]));
        let secret = said("s3", &[("secret_access_key", "hush"), ("disable_config_load", "perhaps")]);
        assert!(!secret.contains("hush"), "{secret}");
    }
}
