//! A group that has failed is opened anew, alone or with both databases.

use std::sync::Arc;
use std::time::Duration;

use server_engine::ShardNumber;
use server_storage::Batch;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::error::ReplicationError;
use crate::node::core::{Core, Open, Running};
use crate::settings::Health;

/// The first wait before something is opened anew, and the longest.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Opens anew what has failed, until the node is dropped.
pub(crate) async fn run(core: Arc<Core>, mut endings: mpsc::UnboundedReceiver<ShardNumber>) {
    let (mut wait, mut last) = (WAIT_MIN, Instant::now());
    while endings.recv().await.is_some() {
        // What fails again soon is waited for longer.
        if last.elapsed() > WAIT_MAX {
            wait = WAIT_MIN;
        }
        loop {
            {
                let _alone = core.lifecycle.lock().await;
                if !take_down_failed(&core).await {
                    break;
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
            let _alone = core.lifecycle.lock().await;
            restart(&core).await;
            last = Instant::now();
        }
    }
}

/// Takes down the groups that have ended. Returns whether something is to be opened anew.
async fn take_down_failed(core: &Core) -> bool {
    let mut any = false;
    for shard in core.placement.shards() {
        let Some(error) = core.read_running(|running| failed(running, shard)) else { continue };
        let health = if error.is_passing() {
            tracing::warn!(shard = shard.0, %error, "a shard failed, and is opened anew");
            any = true;
            Health::Restarting(error)
        } else {
            tracing::error!(shard = shard.0, %error, "a shard is down");
            Health::Down(error)
        };
        let group = core.change_running(|running| {
            running.health.insert(shard, health);
            running.groups.remove(&shard)
        });
        if let Some(group) = group {
            group.stop().await;
        }
    }
    any
}

/// What keeps a shard from running; `None` when it runs, is known to be down, or the node is
/// closed.
fn failed(running: &Running, shard: ShardNumber) -> Option<ReplicationError> {
    if running.is_closed {
        return None;
    }
    match (running.groups.get(&shard), running.health.get(&shard)) {
        (Some(group), _) => {
            let state = group.raft.metrics().borrow().running_state.clone();
            let unnoted = || state.err().map(ReplicationError::stopped);
            let panicked =
                || group.has_ended().then(|| ReplicationError::Stopped("it panicked".to_owned()));
            group.failure.get().or_else(unnoted).or_else(panicked)
        }
        (None, Some(Health::Down(_))) => None,
        (None, Some(Health::Restarting(error))) => Some(error.clone()),
        (None, _) => Some(ReplicationError::NotOpen),
    }
}

/// Starts what does not run; all groups, on databases that are opened anew, where one of these
/// takes no more writes.
async fn restart(core: &Core) {
    let open = core.read_running(|running| running.open.clone());
    let is_open = open.is_some_and(|open| blocking(|| takes_writes(&open)));
    if !is_open && let Err(error) = reopen(core).await {
        tracing::warn!(%error, "the databases cannot be opened");
        core.change_running(|running| {
            for health in running.health.values_mut() {
                if !matches!(health, Health::Down(_)) {
                    *health = Health::Restarting(error.clone());
                }
            }
        });
        return;
    }
    for shard in core.placement.shards() {
        let is_missing = core.read_running(|running| {
            let is_down = matches!(running.health.get(&shard), Some(Health::Down(_)));
            !running.is_closed && !is_down && !running.groups.contains_key(&shard)
        });
        if is_missing && let Err(error) = core.start_group(shard).await {
            core.change_running(|running| {
                running.health.insert(shard, Health::Restarting(error));
            });
        }
    }
}

async fn reopen(core: &Core) -> Result<(), ReplicationError> {
    let (open, groups) =
        core.change_running(|running| (running.open.take(), std::mem::take(&mut running.groups)));
    for group in groups.values() {
        group.stop().await;
    }
    drop(groups);
    if let Some(open) = open {
        open.close().await;
    }
    core.open()
}

fn takes_writes(Open { databases, writer, .. }: &Open) -> bool {
    writer.settle().is_ok() && databases.rows.write(Batch::new()).is_ok()
}
