//! Exact bytes, held against files: what is stored or sent has been written by others already.

use std::fmt::Write as _;
use std::path::Path;

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Holds lines against a file in `tests/golden/v1` of the crate in `folder`, each a name and
/// hexadecimal bytes. A line may be added, and never changed; with `TIDEWIRE_GOLDEN=add` in the
/// environment the lines of new samples are.
///
/// # Panics
/// When a line differs, or is missing on either side.
#[expect(clippy::disallowed_methods, reason = "the one switch of these tests")]
#[expect(clippy::unwrap_used, reason = "a test that cannot write its file fails")]
pub fn check(folder: &str, file: &str, lines: &[(String, Vec<u8>)]) {
    let path = Path::new(folder).join("tests/golden/v1").join(file);
    let found: Vec<String> =
        lines.iter().map(|(name, bytes)| format!("{name}: {}", hex(bytes))).collect();
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let known: Vec<&str> = known.lines().collect();
    for (known, found) in known.iter().zip(&found) {
        assert_eq!(known, found, "in {file}");
    }
    assert!(known.len() <= found.len(), "{file} has bytes that nobody writes any more");
    if std::env::var_os("TIDEWIRE_GOLDEN").is_some_and(|mode| mode == "add") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, found.join("\n") + "\n").unwrap();
    } else {
        assert_eq!(known.len(), found.len(), "not in {file}: {:?}", &found[known.len()..]);
    }
}
