//! The server: one binary that wires the parts together. It has no logic of its own.
//!
//! | to find | look in |
//! | --- | --- |
//! | the commands | `cli.rs` and below |
//! | settings, and their example | `config.rs`, `tidewire.example.toml` |
//! | what is where on disk, one process per directory, the first start | `data_dir.rs` |
//! | the life of a server | `run.rs`; what ends it: `shutdown.rs` |
//! | ports of one part on another | `wiring.rs` |
//! | live queries: their workers and connections | `live.rs` |
//! | the log | `telemetry.rs` |

mod cli;
mod config;
mod data_dir;
mod live;
mod run;
mod shutdown;
mod telemetry;
mod wiring;

use std::process::ExitCode;

/// The system's took a sixth of the time of an INSERT, which is very many small pieces by all
/// threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
