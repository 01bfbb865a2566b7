//! What a node does by itself: logs stay short, what has ended is removed, tables are told.

use std::sync::Arc;
use std::time::Duration;

use server_engine::{Command, Outcome, ShardNumber};
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::error::ReplicationError;
use crate::group::Group;
use crate::node::core::Core;
use crate::placement::META;

/// How long a command of the server itself may take.
const LIMIT: Duration = Duration::from_secs(10);

/// How often it is looked for shards that have not been told of all tables, beside when they
/// change.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Makes long logs shorter.
pub(crate) async fn keep_logs_short(core: Arc<Core>) {
    loop {
        tokio::time::sleep(core.settings.tend_every).await;
        for shard in core.placement.shards() {
            let Some(group) = core.group(shard) else { continue };
            let (max, kept) = (core.settings.log_bytes_max, core.settings.log_bytes_kept);
            if let Err(error) = group.tend(max, kept).await {
                tracing::warn!(shard = shard.0, %error, "a log was not made shorter");
            }
            group.drop_idle_transfer();
        }
    }
}

/// Removes what has ended: expired rows, old tombstones, clients that are silent, dropped tables.
pub(crate) async fn remove_what_ended(core: Arc<Core>) {
    loop {
        tokio::time::sleep(core.settings.sweep_every).await;
        core.reclaim();
        for shard in core.placement.shards() {
            if let Err(error) = sweep(&core, shard).await {
                tracing::warn!(shard = shard.0, %error, "what has ended was not removed");
            }
        }
    }
}

/// Proposes what a shard wants removed, until it wants nothing more. Only the leader's clock
/// counts.
async fn sweep(core: &Core, shard: ShardNumber) -> Result<(), ReplicationError> {
    let Some(group) = core.group(shard).filter(|group| group.is_leader()) else { return Ok(()) };
    let slots = blocking(|| core.read(shard, |view, _| view.slots()))??;
    for slot in slots {
        loop {
            let retention = &core.settings.retention;
            let wanted = blocking(|| core.read(shard, |view, _| view.wanted(slot, retention)))??;
            let mut more = false;
            for command in wanted {
                let outcome = run(&group, &command).await;
                more |= matches!(outcome, Some(Outcome::Removed { more: true, .. }));
            }
            if !more {
                break;
            }
        }
    }
    Ok(())
}

/// Tells each shard that this node leads of the tables that are defined in [`META`].
pub(crate) async fn tell_tables(core: Arc<Core>) {
    let mut tables = core.catalog(META);
    loop {
        let source = Arc::clone(&tables.borrow_and_update());
        for shard in core.placement.shards() {
            let group = core.group(shard).filter(|group| shard != META && group.is_leader());
            let Some(group) = group else { continue };
            let commands = group.catalog.borrow().toward(&source);
            for command in commands {
                run(&group, &command).await;
            }
        }
        tokio::select! {
            _ = tables.changed() => {}
            () = tokio::time::sleep(TELL_EVERY) => {}
        }
    }
}

/// Founds a shard that this node leads and that is not yet. Returns whether it is.
pub(crate) async fn found(core: &Core, group: &Group) -> bool {
    let shard = group.shard;
    let founded = blocking(|| core.read(shard, |view, _| view.slots()));
    if matches!(&founded, Ok(Ok(slots)) if !slots.is_empty()) {
        return true;
    }
    if !core.settings.found || !group.is_leader() {
        return false;
    }
    let slots = core.placement.slots(shard);
    let command = Command::Found { slots, epoch: core.identity.epoch };
    run(group, &command).await == Some(Outcome::Done)
}

/// Proposes a command of the server itself. Without an answer it is wanted again later.
async fn run(group: &Group, command: &Command) -> Option<Outcome> {
    match group.propose(&command.encode(), Instant::now() + LIMIT).await {
        Ok(outcome) => Some(outcome),
        Err(error) => {
            tracing::debug!(shard = group.shard.0, %error, "a command of the server waits");
            None
        }
    }
}
