//! `openapi/openapi.yaml` is what the binary says of itself.

use std::path::Path;
use std::process::Command;

/// `UPDATE_GOLDEN=1 cargo test --test it openapi` writes the file anew.
#[test]
fn the_kept_document_is_the_one_that_the_binary_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("openapi").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/openapi.yaml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    let differs = kept.lines().zip(printed.lines()).position(|(kept, printed)| kept != printed);
    assert!(
        kept == printed,
        "openapi/openapi.yaml differs from what `tidegate openapi` prints, first in line {:?}; \
         `UPDATE_GOLDEN=1 cargo test --test it openapi` writes it anew",
        differs.map(|line| line + 1)
    );
}

/// Every path of the three dialects is in it, those of CONTRACTS A, B and C, and our own.
#[test]
fn every_path_of_the_contracts_is_documented() {
    let kept = include_str!("../../openapi/openapi.yaml");
    for path in [
        "/write_chunk",
        "/write_chunk_binary",
        "/get_file",
        "/clear_file",
        "/fileupload/upload_chunk/",
        "/fileupload/complete_upload/",
        "/fileupload/assembly_status/{session_id}/",
        "/fileupload/list_completed_uploads/",
        "/fileupload/delete_upload/{session_id}/",
        "/",
        "/api/files/societes",
        "/api/files/societe/{societe}/files",
        "/api/files/download/{societe}/{filename}",
        "/api/files/upload/{societe}",
        "/api/files/sync/{societe}",
        "/api/files/delete/{societe}/{filename}",
        "/api/files/status",
        "/v1/events",
        "/v1/admin/hooks",
        "/v1/admin/follow-ups",
        "/v1/admin/follow-ups/{id}",
        "/v1/admin/follow-ups/{id}/retry",
        "/healthz",
        "/readyz",
    ] {
        assert!(kept.contains(&format!("\n  {path}:\n")), "{path} is not documented");
    }
}

/// What generates clients reads YAML 1.1, where a property `off` that is required is `false`.
#[test]
fn no_word_is_a_boolean_to_an_older_reader() {
    let kept = include_str!("../../openapi/openapi.yaml");
    let is_switch = |word: &str| ["y", "n", "yes", "no", "on", "off"].contains(&word.to_lowercase().as_str());
    let scalars = |line: &'static str| line.trim_start_matches([' ', '-']).trim_end_matches(':').split(": ");
    let read_otherwise: Vec<&str> = kept.lines().filter(|line| scalars(line).any(is_switch)).collect();
    assert!(read_otherwise.is_empty(), "{read_otherwise:?}");
}
