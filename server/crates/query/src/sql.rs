//! From a request to its answer.

use std::fmt;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Visit;
use protocol::error_code::ErrorCode;
use protocol::ids::{ContentHash, TenantId};
use protocol::mutation::ColumnValue;
use protocol::schema::TableSchema;
use server_engine::{Actor, Role};
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use crate::change::Change;
use crate::constant::{Binding, generated};
use crate::ddl::Tables;
use crate::error::SqlError;
use crate::ids::Ids;
use crate::insert::Insert;
use crate::limits::PARAMS_MAX;
use crate::ports::{LiveQueries, Shards};
use crate::request::{Answer, Param, Request};
use crate::running::{Running, on_another_thread};
use crate::select::Select;
use crate::settings::Settings;
use crate::statement::{self, Parsed, Statement};
use crate::statements::Statements;
use crate::subscribe::{self, Subscribed};
use crate::system::whose;
use crate::table::{self, Target};
use crate::write::{Plan, Writer};

/// Runs statements.
pub struct Sql {
    shards: Arc<dyn Shards>,
    statements: Statements,
    select: Select,
    writer: Writer,
    tables: Tables,
    ids: Arc<Ids>,
}

impl Sql {
    /// SQL over these shards.
    ///
    /// # Errors
    /// `internal` when the settings leave no memory to run anything in.
    pub fn new(shards: Arc<dyn Shards>, settings: &Settings) -> Result<Self, SqlError> {
        Ok(Self {
            statements: Statements::new(),
            select: Select::new(settings)?,
            writer: Writer::new(Arc::clone(&shards)),
            tables: Tables::new(Arc::clone(&shards)),
            ids: Arc::new(Ids::new(settings.node)),
            shards,
        })
    }

    /// The same, with these live queries to be listed and ended.
    #[must_use]
    pub fn with_live_queries(mut self, live: Arc<dyn LiveQueries>) -> Self {
        self.select.live = live;
        self
    }

    /// Defines what SQL itself keeps, unless it is there. Before that, no namespace can be created.
    ///
    /// # Errors
    /// [`SqlError`] when it cannot be written before the deadline.
    pub async fn found(&self, deadline: Instant) -> Result<(), SqlError> {
        self.tables.found(deadline).await
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// [`SqlError`], whose code says whether to ask again.
    ///
    /// # Cancel safety
    /// A write whose future is dropped may have happened: ask again under the same request id.
    pub async fn run(&self, request: Request) -> Result<Answer, SqlError> {
        let Request { actor, sql, params, id, deadline } = request;
        let parsed = self.parsed(&sql).await?;
        check_params(parsed.params, &params)?;
        let actor = acting(actor, &parsed)?;
        let request = id.map(|id| (id, hash(&sql, &params)));
        let (now, ids) = (self.shards.now(), Arc::clone(&self.ids));
        let running = Running { actor, params, request, deadline, now, ids };
        self.run_parsed(Arc::new(running), &parsed.statement).await
    }

    /// What a subscription asks for.
    ///
    /// # Errors
    /// [`SqlError`] names the construct that a subscription cannot have.
    pub async fn subscription(
        &self,
        actor: Actor,
        sql: &str,
        params: &[Param],
    ) -> Result<Subscribed, SqlError> {
        let parsed = self.parsed(sql).await?;
        check_params(parsed.params, params)?;
        let actor = acting(actor, &parsed)?;
        let catalog = self.shards.catalog();
        let now = self.shards.now();
        let binding = Binding { params, now, user: &actor.user, ids: &self.ids };
        subscribe::compile(&catalog, &parsed.statement, &actor, binding)
    }

    /// Gives the columns of a new row that it does not name, and whose values come from a clock or
    /// from chance, a value as `INSERT` does: the engine cannot make one.
    ///
    /// # Errors
    /// `internal` when the system gives no random numbers.
    pub fn fill(
        &self,
        user: &TenantId,
        table: &TableSchema,
        row: &mut Vec<ColumnValue>,
    ) -> Result<(), SqlError> {
        let binding = Binding { params: &[], now: self.shards.now(), user, ids: &self.ids };
        for column in &table.columns {
            if row.iter().all(|ColumnValue(named, _)| *named != column.id)
                && let Some(value) = generated(column, &binding)?
            {
                row.push(ColumnValue(column.id, value));
            }
        }
        Ok(())
    }

    async fn parsed(&self, sql: &str) -> Result<Arc<Parsed>, SqlError> {
        if let Some(parsed) = self.statements.get(sql) {
            return Ok(parsed);
        }
        let tokens = statement::read(sql)?;
        let parsed = Arc::new(match tokens.are_quick() {
            true => statement::parse(tokens)?,
            false => on_another_thread(move || statement::parse(tokens)).await?,
        });
        self.statements.keep(sql, &parsed);
        Ok(parsed)
    }

    async fn run_parsed(
        &self,
        running: Arc<Running>,
        statement: &Statement,
    ) -> Result<Answer, SqlError> {
        let catalog = self.shards.catalog();
        match statement {
            Statement::CreateNamespace { name, if_not_exists } => {
                self.tables.create_namespace(&running, name, *if_not_exists).await
            }
            Statement::DropNamespace { name, if_exists } => {
                self.tables.drop_namespace(&running, name, *if_exists).await
            }
            Statement::CreateTable(table) => self.tables.create_table(&running, table).await,
            Statement::DropTable { name, if_exists } => {
                self.tables.drop_table(&running, name, *if_exists).await
            }
            Statement::AlterTable(altered) => self.tables.alter_table(&running, altered).await,
            Statement::KillLiveQuery { id } => {
                let (live, actor) = (Arc::clone(&self.select.live), running.actor.clone());
                let id = id.clone();
                on_another_thread(move || kill(&*live, &actor, &id)).await
            }
            Statement::Insert(insert) => {
                let plan = Insert::new(&catalog, insert, &running);
                self.write(&running, &**insert, plan).await
            }
            Statement::Update(update) => {
                let plan = Change::update(&self.select, &catalog, update, &running);
                self.write(&running, &**update, plan).await
            }
            Statement::Delete(delete) => {
                let plan = Change::delete(&self.select, &catalog, delete, &running);
                self.write(&running, &**delete, plan).await
            }
            Statement::Query(query) => {
                let Running { actor, params, now, deadline, .. } = &*running;
                let query = (**query).clone();
                self.select.run(&self.shards, actor, query, params, *now, *deadline).await
            }
        }
    }

    /// Writes what was planned. What cannot be planned now may have been written before, when the
    /// table was there still, or was another one.
    async fn write(
        &self,
        running: &Arc<Running>,
        statement: &impl Visit,
        planned: Result<(Target, impl Plan), SqlError>,
    ) -> Result<Answer, SqlError> {
        let _entered = self.writer.enter(running).await?;
        match planned {
            Ok((target, plan)) => self.writer.write(running, &target, plan).await,
            Err(error) => {
                let lanes = table::lanes(statement, &running.actor);
                self.writer.first_answer(running, &lanes, None, error).await
            }
        }
    }
}

#[cfg(feature = "testing")]
impl Sql {
    /// The same, with every condition of a SELECT left to DataFusion: to hold the two against each
    /// other.
    #[must_use]
    pub fn without_push_down(mut self) -> Self {
        self.select = self.select.without_push_down();
        self
    }
}

/// Ends a live query. One that the actor does not see is not there.
fn kill(live: &dyn LiveQueries, actor: &Actor, id: &str) -> Result<Answer, SqlError> {
    if live.kill(id, whose(actor))? {
        return Ok(Answer::written(1));
    }
    let told = "there is no such live query of yours: look for its id in system.live_queries";
    Err(SqlError::new(ErrorCode::NotFound, told))
}

/// Whom a statement runs as.
fn acting(actor: Actor, parsed: &Parsed) -> Result<Actor, SqlError> {
    match &parsed.execute_as {
        None => Ok(actor),
        Some(user) if actor.role >= Role::Service => {
            Ok(Actor { user: user.clone(), role: Role::User })
        }
        Some(_) => Err(SqlError::forbidden(
            "EXECUTE AS USER is for roles service and admin: use a token of such a role",
        )),
    }
}

fn check_params(used: usize, params: &[Param]) -> Result<(), SqlError> {
    if params.len() > PARAMS_MAX {
        return Err(SqlError::too_large(format!(
            "there are {} parameters, at most {PARAMS_MAX} are taken",
            params.len()
        )));
    }
    if used == params.len() {
        return Ok(());
    }
    Err(SqlError::invalid(format!(
        "the statement uses {used} parameters, and {} values were given",
        params.len()
    )))
}

/// By which another use of a request id is noticed. XXH3 tells apart what somebody mixed up.
fn hash(sql: &str, params: &[Param]) -> ContentHash {
    let mut hash = Xxh3::new();
    let mut add = |kind: u8, bytes: &[u8]| {
        hash.update(&[kind]);
        hash.update(&(bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    add(0, sql.as_bytes());
    for param in params {
        match param {
            Param::Null => add(1, &[]),
            Param::Boolean(value) => add(2, &[u8::from(*value)]),
            Param::Number(text) => add(3, text.as_bytes()),
            Param::Text(text) => add(4, text.as_bytes()),
            Param::Bytes(bytes) => add(5, bytes),
        }
    }
    ContentHash::from_bytes(hash.digest128().to_be_bytes())
}

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sql").field("shards", &self.shards).finish_non_exhaustive()
    }
}
