//! Requests as a client sends them, and what comes back.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

/// Longer than a server takes for a statement. What takes longer hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Asks a server as one user. It follows the server to the port of its next start.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    url: Arc<Mutex<String>>,
    token: String,
}

/// What a statement gave.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Name and type of each column.
    #[serde(default)]
    pub columns: Vec<Column>,
    /// The rows.
    #[serde(default)]
    pub rows: Vec<Vec<Value>>,
    /// How many rows were written.
    pub rows_affected: Option<u64>,
    /// Lanes, and how far they have come.
    pub positions: Vec<Value>,
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub column_type: String,
}

/// Why there is no answer to a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The server has said so.
    Refused(Refusal),
    /// Nobody has said anything, so it may have happened.
    Unanswered(String),
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The status of HTTP.
    #[serde(skip)]
    pub status: u16,
    /// The code to match on.
    pub code: String,
    /// The sentence.
    pub message: String,
    /// Where the code is explained.
    pub documentation: String,
    /// Whether asking again may help.
    pub retry: bool,
    /// When.
    pub retry_after_ms: Option<u64>,
    /// What the server's log calls the request.
    pub request: String,
}

impl Client {
    pub(crate) fn new(url: Arc<Mutex<String>>, token: String) -> Self {
        Self { agent: agent(ANSWER_WITHIN), url, token }
    }

    /// The same, which waits no longer for an answer.
    pub fn within(&self, answer_within: Duration) -> Self {
        Self { agent: agent(answer_within), ..self.clone() }
    }

    /// The same with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(&self, sql: &str) -> Result<Answer, Failure> {
        self.send(&json!({ "sql": sql }))
    }

    /// Runs a statement with parameters, under a request id.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn request(&self, id: &str, sql: &str, params: &[Value]) -> Result<Answer, Failure> {
        self.send(&json!({ "sql": sql, "params": params, "request_id": id }))
    }

    /// Runs a statement with parameters.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn with(&self, sql: &str, params: &[Value]) -> Result<Answer, Failure> {
        self.send(&json!({ "sql": sql, "params": params }))
    }

    fn send(&self, body: &Value) -> Result<Answer, Failure> {
        let (status, text) = self.post(body.to_string().as_bytes()).map_err(Failure::Unanswered)?;
        read(status, &text)
    }

    /// Runs a statement that must succeed.
    ///
    /// # Panics
    /// It did not.
    pub fn ok(&self, sql: &str) -> Answer {
        self.run(sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"))
    }

    /// The rows of a statement that must succeed, each as one text.
    ///
    /// # Panics
    /// It did not.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        self.ok(sql).texts()
    }

    /// Runs a statement that must be refused.
    ///
    /// # Panics
    /// It was not, or not with this code.
    pub fn refused(&self, sql: &str, code: &str) -> Refusal {
        match self.run(sql) {
            Err(Failure::Refused(refusal)) if refusal.code == code => refusal,
            other => panic!("{sql}: not {code}, but {other:?}"),
        }
    }

    /// Sends any bytes to where statements go. Returns the status and what came with it.
    ///
    /// # Errors
    /// Why there was no answer.
    pub fn post(&self, body: &[u8]) -> Result<(u16, String), String> {
        let request = self
            .agent
            .post(self.place("/v1/sql"))
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Content-Type", "application/json");
        let mut answer = request.send(body).map_err(|error| error.to_string())?;
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        Ok((answer.status().as_u16(), text.map_err(|error| error.to_string())?))
    }

    /// Asks for what needs no token, such as `/ready`.
    ///
    /// # Errors
    /// Why there was no answer.
    pub fn get(&self, path: &str) -> Result<(u16, String), String> {
        let answer = self.agent.get(self.place(path)).call();
        let mut answer = answer.map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        Ok((answer.status().as_u16(), text))
    }

    /// Address and port of the server.
    pub fn address(&self) -> String {
        self.place("").trim_start_matches("http://").to_owned()
    }

    fn place(&self, path: &str) -> String {
        let url = self.url.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{url}{path}")
    }
}

fn agent(answer_within: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(answer_within))
        .build()
        .into()
}

impl Answer {
    /// The rows, each as one text.
    pub fn texts(&self) -> Vec<String> {
        let shown = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
        let shown = |row: &Vec<Value>| row.iter().map(shown).collect::<Vec<_>>().join(" ");
        self.rows.iter().map(shown).collect()
    }
}

/// Reads an answer, every field of which must be known.
///
/// # Errors
/// [`Failure::Refused`].
///
/// # Panics
/// It is no answer of a Tidewire server.
fn read(status: u16, text: &str) -> Result<Answer, Failure> {
    if status == 200 {
        return Ok(serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")));
    }
    Err(Failure::Refused(Refusal::read(status, text)))
}

impl Refusal {
    /// Reads a refusal.
    ///
    /// # Panics
    /// It is none.
    pub fn read(status: u16, text: &str) -> Self {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            error: Refusal,
        }
        let body: Body = serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("the answer {status} is none of ours: {error}: {text}"));
        Self { status, ..body.error }
    }
}

impl Failure {
    /// Whether the same request, under the same id, is to be sent again.
    pub fn may_retry(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.retry,
            Self::Unanswered(_) => true,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "{}: {}", refusal.code, refusal.message),
            Self::Unanswered(why) => write!(f, "no answer: {why}"),
        }
    }
}

// A failing test shows its clients, and a token is a secret also there.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.address()).finish_non_exhaustive()
    }
}
