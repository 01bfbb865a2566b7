//! Whoever ends the demo ends all that it has started.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::select;
use tokio::signal::unix::{SignalKind, signal};

static IS_OVER: AtomicBool = AtomicBool::new(false);

/// Whether somebody has ended the demo.
pub(crate) fn is_over() -> bool {
    IS_OVER.load(Ordering::SeqCst)
}

/// From now on a signal ends the children of this process. Then whoever waits for them ends, too,
/// and removes what was on disk.
pub(crate) fn end_what_was_started() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if runtime.is_ok_and(|runtime| runtime.block_on(ended()).is_ok()) {
            IS_OVER.store(true, Ordering::SeqCst);
            end_children();
        }
    });
}

async fn ended() -> std::io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        _ = hung_up.recv() => {}
    }
    Ok(())
}

/// Each thread has its own children.
fn end_children() {
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let mut children = children.split_whitespace().peekable();
        if children.peek().is_none() {
            continue;
        }
        // They may have ended by themselves. The shell has a `kill` of its own, which a small system
        // has not.
        let mut shell = Command::new("sh");
        let _ = shell.args(["-c", "kill \"$@\"", "kill"]).args(children).status();
    }
}
