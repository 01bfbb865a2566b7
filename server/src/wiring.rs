//! What the parts need of each other, on what there is: SQL on the node's shards, the gateway on
//! SQL.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::ids::Lane;
use server_engine::{Actor, Catalog, Command, Outcome, Time, View};
use server_gateway::{HealthPort, Readiness, SqlAnswer, SqlColumn, SqlPort, SqlRequest};
use server_query::{ShardError, Shards, Sql};
use server_replication::{META, Node, ProposeError, ReplicationError};
use tokio::sync::watch;
use tokio::time::Instant;

/// When to ask again while the server starts.
const STARTS_WITHIN: Duration = Duration::from_secs(1);

/// The clock of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock;

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn since_1970() -> Duration {
        let now = std::time::SystemTime::now();
        // A machine that stands before 1970 says 1970.
        now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
    }
}

impl server_replication::Clock for SystemClock {
    fn now(&self) -> Time {
        Time(i64::try_from(Self::since_1970().as_micros()).unwrap_or(i64::MAX))
    }
}

impl server_gateway::Clock for SystemClock {
    fn now_micros(&self) -> i64 {
        server_replication::Clock::now(self).0
    }

    fn now_seconds(&self) -> u64 {
        Self::since_1970().as_secs()
    }
}

/// The shards of this node, for SQL.
#[derive(Debug)]
pub(crate) struct NodeShards(pub(crate) Arc<Node>);

impl Shards for NodeShards {
    fn catalog(&self) -> Arc<Catalog> {
        self.0.catalog(META).unwrap_or_default()
    }

    fn read(&self, lane: &Lane, look: &mut dyn FnMut(View<'_>)) -> Result<(), ShardError> {
        let shard = self.0.placement().shard(lane);
        self.0.read(shard, |view, _| look(view)).map_err(|error| match error {
            ReplicationError::NotOpen => ShardError::Unavailable,
            error => {
                tracing::error!(shard = shard.0, %error, "a shard cannot be read");
                ShardError::Failed
            }
        })
    }

    fn propose(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Pin<Box<dyn Future<Output = Result<Outcome, ShardError>> + Send + '_>> {
        Box::pin(async move {
            let shard = command.lane().map_or(META, |lane| self.0.placement().shard(lane));
            self.0.propose(shard, &command, deadline).await.map_err(|error| match error {
                ProposeError::Overloaded => ShardError::Overloaded,
                ProposeError::TooLarge { .. } => ShardError::TooLarge,
                ProposeError::Expired => ShardError::Expired,
                ProposeError::Unknown => ShardError::Unknown,
                ProposeError::NotLeader { .. }
                | ProposeError::Unavailable
                | ProposeError::SchemaBehind => ShardError::Unavailable,
                error => {
                    tracing::error!(shard = shard.0, %error, "a command has no answer");
                    // What is not known here may have happened.
                    ShardError::Unknown
                }
            })
        })
    }

    fn now(&self) -> Time {
        server_replication::Clock::now(&SystemClock)
    }
}

/// SQL, for the gateway. The port is open before there is any.
#[derive(Default)]
pub(crate) struct SqlWhenStarted(OnceLock<Arc<Sql>>);

impl SqlWhenStarted {
    /// From now on there is SQL.
    pub(crate) fn start(&self, sql: Arc<Sql>) {
        // Started once.
        let _ = self.0.set(sql);
    }
}

impl SqlPort for SqlWhenStarted {
    fn run(
        &self,
        request: SqlRequest,
    ) -> Pin<Box<dyn Future<Output = Result<SqlAnswer, server_gateway::SqlError>> + Send + '_>>
    {
        Box::pin(async move {
            let Some(sql) = self.0.get() else {
                return Err(server_gateway::SqlError {
                    code: ErrorCode::Overloaded,
                    message: "the server is starting: try again in a moment".to_owned(),
                    retry_after: Some(STARTS_WITHIN),
                });
            };
            sql.run(to_query(request)).await.map(to_gateway).map_err(|error| {
                let server_query::SqlError { code, message, retry_after } = error;
                server_gateway::SqlError { code, message, retry_after }
            })
        })
    }
}

pub(crate) fn role(role: server_gateway::Role) -> server_engine::Role {
    match role {
        server_gateway::Role::User => server_engine::Role::User,
        server_gateway::Role::Service => server_engine::Role::Service,
        server_gateway::Role::Admin => server_engine::Role::Admin,
    }
}

fn to_query(request: SqlRequest) -> server_query::Request {
    let SqlRequest { caller, sql, params, request_id, deadline } = request;
    let role = role(caller.role);
    server_query::Request {
        actor: Actor { user: caller.user, role },
        sql,
        params: params.into_iter().map(param).collect(),
        id: request_id,
        deadline,
    }
}

/// A parameter, as SQL takes it.
pub(crate) fn param(param: server_gateway::Param) -> server_query::Param {
    match param {
        server_gateway::Param::Null => server_query::Param::Null,
        server_gateway::Param::Boolean(value) => server_query::Param::Boolean(value),
        server_gateway::Param::Number(text) => server_query::Param::Number(text),
        server_gateway::Param::Text(text) => server_query::Param::Text(text),
        server_gateway::Param::Bytes(bytes) => server_query::Param::Bytes(bytes),
    }
}

fn to_gateway(answer: server_query::Answer) -> SqlAnswer {
    let server_query::Answer { columns, rows, rows_affected, positions } = answer;
    let to_column = |column: server_query::ResultColumn| SqlColumn {
        name: column.name,
        column_type: column.column_type,
    };
    let to_position = |position: server_query::Position| server_gateway::Position {
        lane: position.lane,
        epoch: position.epoch,
        seq: position.seq,
    };
    SqlAnswer {
        columns: columns.into_iter().map(to_column).collect(),
        rows,
        rows_affected,
        positions: positions.into_iter().map(to_position).collect(),
    }
}

/// How far the server is, for who asks whether to send it requests.
#[derive(Debug)]
pub(crate) struct State(watch::Sender<Readiness>);

impl State {
    /// It starts.
    pub(crate) fn starting() -> Self {
        Self(watch::Sender::new(Readiness::Starting))
    }

    /// It is so from now on. What has failed does not become ready again, it ends.
    pub(crate) fn set(&self, readiness: Readiness) {
        self.0.send_modify(|state| {
            if !matches!(state, Readiness::Failed) {
                *state = readiness;
            }
        });
    }
}

impl HealthPort for State {
    fn readiness(&self) -> Readiness {
        *self.0.borrow()
    }
}

impl fmt::Debug for SqlWhenStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlWhenStarted").field("started", &self.0.get().is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_while_the_server_starts_is_told_when_to_ask_again() {
        let sql = SqlWhenStarted::default();
        let caller = server_gateway::Caller {
            user: "ann".parse().unwrap(),
            role: server_gateway::Role::User,
        };
        let request = SqlRequest {
            caller,
            sql: "SELECT 1".to_owned(),
            params: Vec::new(),
            request_id: None,
            deadline: Instant::now() + STARTS_WITHIN,
        };
        let told = sql.run(request).await.unwrap_err();
        assert_eq!((told.code, told.retry_after), (ErrorCode::Overloaded, Some(STARTS_WITHIN)));
    }
}
