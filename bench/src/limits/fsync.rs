//! Appending 4 KiB and syncing it, one at a time.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

/// The median time of an append with its sync, in microseconds.
pub(crate) fn micros(folder: &Path) -> Result<f64> {
    let mut file = File::create(folder.join("fsync"))?;
    let block = [7; 4096];
    let mut times = Vec::new();
    let end = Instant::now() + Duration::from_millis(700);
    while Instant::now() < end {
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(crate::report::spread(&times).1)
}
