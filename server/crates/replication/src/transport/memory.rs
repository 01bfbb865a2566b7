//! Nodes in one process, and links between them that can be cut: for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use server_engine::ShardNumber;

use super::{Answering, Transport, TransportError};
use crate::ids::NodeId;
use crate::node::Node;

/// The nodes that can reach each other.
#[derive(Clone, Debug, Default)]
pub struct Switchboard {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<NodeId, Weak<Node>>,
    cut: BTreeSet<NodeId>,
}

/// The way from one place to all nodes.
#[derive(Debug)]
struct Line {
    board: Switchboard,
    from: Arc<Mutex<Option<NodeId>>>,
}

impl Switchboard {
    /// A transport for a node that is about to start, and what connects the node once it has.
    pub fn line(&self) -> (Arc<dyn Transport>, impl FnOnce(&Arc<Node>) + use<>) {
        let from = Arc::default();
        let line = Line { board: self.clone(), from: Arc::clone(&from) };
        let board = self.clone();
        let connect = move |node: &Arc<Node>| {
            *from.lock().unwrap_or_else(PoisonError::into_inner) = Some(node.id());
            board.state().nodes.insert(node.id(), Arc::downgrade(node));
        };
        (Arc::new(line), connect)
    }

    /// Cuts a node off from all others.
    pub fn cut(&self, node: NodeId) {
        self.state().cut.insert(node);
    }

    /// Connects it again.
    pub fn heal(&self, node: NodeId) {
        self.state().cut.remove(&node);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self, from: Option<NodeId>, target: NodeId) -> Option<Arc<Node>> {
        let state = self.state();
        let is_cut = |node: &NodeId| state.cut.contains(node);
        if is_cut(&target) || from.as_ref().is_some_and(is_cut) {
            return None;
        }
        state.nodes.get(&target)?.upgrade()
    }
}

impl Transport for Line {
    fn call(&self, target: NodeId, shard: ShardNumber, request: Vec<u8>) -> Answering<'_> {
        Box::pin(async move {
            let from = *self.from.lock().unwrap_or_else(PoisonError::into_inner);
            let node = self.board.reach(from, target).ok_or(TransportError::Unreachable)?;
            let answer = node.handle(shard, &request).await?;
            // The way back may be cut meanwhile.
            self.board.reach(from, target).ok_or(TransportError::Unreachable)?;
            Ok(answer)
        })
    }
}
