//! Who takes part in a group.

use std::collections::BTreeSet;

use openraft::EmptyNode;

use crate::error::ReplicationError;
use crate::group::Group;
use crate::ids::NodeId;

/// Makes these nodes the voters of a group that this node leads. Repeat it after an error: what
/// has happened already is passed over, also half of a change.
///
/// Each new node first gets the log, so that it does not hold up a quorum as a voter.
pub(crate) async fn set_voters(
    group: &Group,
    voters: &BTreeSet<NodeId>,
) -> Result<(), ReplicationError> {
    add_learners(group, voters, true).await?;
    let members = group.raft.metrics().borrow().membership_config.membership().clone();
    if members.get_joint_config() == &vec![voters.clone()] {
        return Ok(());
    }
    let installing = group.installing();
    tokio::select! {
        changed = group.raft.change_membership(voters.clone(), false) => {
            changed.map(drop).map_err(ReplicationError::stopped)
        }
        () = installing => Err(unanswered()),
    }
}

fn unanswered() -> ReplicationError {
    ReplicationError::Stopped("it is not known whether the members changed".to_owned())
}

/// Sends everything to these nodes too, and waits until they have it, if `wait`. They have no vote.
pub(crate) async fn add_learners(
    group: &Group,
    nodes: &BTreeSet<NodeId>,
    wait: bool,
) -> Result<(), ReplicationError> {
    let members = group.raft.metrics().borrow().membership_config.membership().clone();
    for node in nodes {
        if members.get_node(node).is_none() {
            let installing = group.installing();
            tokio::select! {
                added = group.raft.add_learner(*node, EmptyNode {}, wait) => {
                    added.map_err(ReplicationError::stopped)?;
                }
                () = installing => return Err(unanswered()),
            }
        }
    }
    Ok(())
}
