//! What a page asks: to be signed in, and for tokens.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::clock::now;
use crate::key::{Key, Role};
use crate::sessions::Sessions;

/// The longest body, in bytes: a name.
const BODY_BYTES_MAX: usize = 1_024;

/// The longest name, in characters.
const NAME_MAX: usize = 40;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct SignIn {
    pub(crate) key: Key,
    pub(crate) sessions: Sessions,
    /// For how long a token is good.
    pub(crate) token_seconds: u64,
}

/// Every route. Pages of these origins may ask.
pub(crate) fn router(sign_in: Arc<SignIn>, origins: Vec<HeaderValue>) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE]);
    Router::new()
        .route("/sign-in", post(begin))
        .route("/token", get(token))
        .route("/sign-out", post(end))
        .route("/health", get(async || answer(&json!({ "status": "ok" }))))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(cors)
        .with_state(sign_in)
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

async fn begin(
    State(sign_in): State<Arc<SignIn>>,
    name: Result<Json<Name>, JsonRejection>,
) -> Result<Response, Refused> {
    let Json(Name { name }) = name.map_err(|error| Refused::Invalid(error.body_text()))?;
    let user = user(&name).ok_or_else(|| {
        Refused::Invalid(format!(
            "a name has 1 to {NAME_MAX} letters from a to z, digits, - and _: choose another one"
        ))
    })?;
    let session = sign_in.sessions.begin(&user, now()).map_err(Refused::Failed)?;
    Ok(answer(&json!({ "user": user, "session": session })))
}

async fn token(
    State(sign_in): State<Arc<SignIn>>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let now = now();
    let session = session(&headers).and_then(|secret| sign_in.sessions.user(secret, now));
    let (user, until) = session.ok_or(Refused::NeedsAuth)?;
    let expires_at = until.min(now + sign_in.token_seconds);
    let token = sign_in.key.token(&user, Role::User, expires_at, now);
    Ok(answer(&json!({ "token": token, "expires_at": expires_at })))
}

async fn end(State(sign_in): State<Arc<SignIn>>, headers: HeaderMap) -> Result<Response, Refused> {
    if let Some(secret) = session(&headers) {
        sign_in.sessions.end(secret).map_err(Refused::Failed)?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The user whom a name means.
fn user(name: &str) -> Option<String> {
    let user = name.trim().to_ascii_lowercase();
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    ((1..=NAME_MAX).contains(&user.len()) && user.chars().all(is_of_name)).then_some(user)
}

/// The secret in the head.
fn session(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

fn answer(body: &Value) -> Response {
    ([(CACHE_CONTROL, NO_STORE)], Json(body)).into_response()
}

/// Why there is no answer.
#[derive(Debug)]
enum Refused {
    Invalid(String),
    NeedsAuth,
    Failed(anyhow::Error),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::Invalid(message) => (StatusCode::BAD_REQUEST, "invalid_request", message),
            Self::NeedsAuth => {
                let told = "the session is unknown or over: sign in again";
                (StatusCode::UNAUTHORIZED, "needs_auth", told.to_owned())
            }
            Self::Failed(error) => {
                crate::tell(&format!("{error:#}"));
                let told = "the session cannot be stored: tell whoever runs the chat";
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", told.to_owned())
            }
        };
        let mut response = answer(&json!({ "error": { "code": code, "message": message } }));
        *response.status_mut() = status;
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_of_a_few_characters() {
        let longest = "a".repeat(NAME_MAX);
        for (name, expected) in
            [("alice", "alice"), (" Bob-2_x ", "bob-2_x"), ("-", "-"), (&longest, &longest)]
        {
            assert_eq!(user(name).as_deref(), Some(expected), "{name}");
        }
        for name in ["", " ", "a b", "it's", "zoë", "a/b", &"a".repeat(NAME_MAX + 1)] {
            assert_eq!(user(name), None, "{name:?}");
        }
    }

    #[test]
    fn the_secret_is_in_one_header() {
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(text).unwrap());
            session(&headers).map(str::to_owned)
        };
        assert_eq!(with("bearer  x ").as_deref(), Some("x"));
        assert_eq!((with("x"), with("Basic x"), session(&HeaderMap::new())), (None, None, None));
    }
}
