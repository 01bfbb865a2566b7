//! Where everything is: this checkout, the folder for what is kept between runs, and the folder
//! where cargo builds.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

static PLACES: OnceLock<Places> = OnceLock::new();

struct Places {
    checkout: PathBuf,
    folder: PathBuf,
    target: PathBuf,
}

/// Finds out where everything is. Called once, before anything else.
///
/// # Errors
/// A sentence that says what to do.
pub(crate) fn locate() -> Result<(), String> {
    let built_in = env!("CARGO_MANIFEST_DIR");
    if variable("CARGO_MANIFEST_DIR").is_some_and(|manifest| manifest != built_in) {
        // With a build folder that checkouts share, cargo may have run the xtask of another one.
        return Err(format!(
            "this xtask was built in {built_in}. Run this, then try again:\n\n    cargo clean --package xtask"
        ));
    }
    let named = |name: &str| {
        variable(name).map(|path| std::path::absolute(&path).unwrap_or_else(|_| path.into()))
    };
    let folder = named("TIDEWIRE_CACHE")
        .or_else(|| Some(named("XDG_CACHE_HOME")?.join("tidewire")))
        .or_else(|| Some(named("HOME")?.join(".cache/tidewire")))
        .ok_or_else(|| {
            "HOME is not set: name a folder for the cache in TIDEWIRE_CACHE".to_owned()
        })?;
    let target = named("CARGO_TARGET_DIR").unwrap_or_else(|| folder.join("target"));
    let manifest = Path::new(built_in);
    let checkout = manifest.parent().unwrap_or(manifest).to_owned();
    PLACES.get_or_init(|| Places { checkout, folder, target });
    Ok(())
}

fn places() -> &'static Places {
    #[expect(clippy::expect_used, reason = "main locates them before anything else")]
    PLACES.get().expect("the places are known")
}

/// The folder of the repository.
pub(crate) fn checkout() -> &'static Path {
    &places().checkout
}

/// The folder for all that is kept between runs.
pub(crate) fn folder() -> &'static Path {
    &places().folder
}

/// Where cargo builds.
pub(crate) fn target() -> &'static Path {
    &places().target
}

/// A variable of the environment that is set and not empty.
#[expect(clippy::disallowed_methods, reason = "xtask is configured by its environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
