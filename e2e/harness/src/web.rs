//! Requests of a web page, to whoever answers HTTP.

use std::time::Duration;

use serde_json::Value;

/// Longer than an answer takes. What takes longer hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// What came back.
#[derive(Clone, Debug)]
pub struct Page {
    /// The status of HTTP.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// What is in it.
    pub body: Vec<u8>,
}

impl Page {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What is in it as JSON; NULL when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Asks: with a body it is a POST. A redirection is an answer.
///
/// # Panics
/// There is no answer.
pub fn ask(url: &str, headers: &[(&str, &str)], body: Option<&str>) -> Page {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(ANSWER_WITHIN))
        .proxy(None)
        .build()
        .into();
    let answered = match body {
        Some(body) => headers
            .iter()
            .fold(agent.post(url), |request, (name, value)| request.header(*name, *value))
            .send(body),
        None => headers
            .iter()
            .fold(agent.get(url), |request, (name, value)| request.header(*name, *value))
            .call(),
    };
    let mut answer = answered.unwrap_or_else(|error| panic!("{url}: {error}"));
    let headers = answer.headers().iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    let (status, headers) = (answer.status().as_u16(), headers.collect());
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    let body = body.unwrap_or_else(|error| panic!("{url}: {error}"));
    Page { status, headers, body }
}
