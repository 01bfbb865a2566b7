//! Tokens: asked for, and looked at before they are sent.

use std::panic::AssertUnwindSafe;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt;
use futures::future::BoxFuture;
use protocol::error_code::ErrorCode;
use protocol::frame::v1::Token;
use sdk_machine::{Attempt, Event, Reason, Stall};

use super::{Driver, Happened};
use crate::config::{Config, LogLevel};
use crate::status::StatusReason;

/// What came of asking.
pub(crate) enum TokenOutcome {
    Token(String),
    /// It is of somebody else.
    WrongUser,
    /// There is none: why, as the application says.
    Failed(String),
}

impl TokenOutcome {
    /// What the status says of it.
    pub(super) fn reason(&self) -> StatusReason {
        let message = match self {
            Self::Token(_) => String::new(),
            Self::WrongUser => "the token is of another user than the client: give one of the \
                                client's user, or open a client of the other"
                .to_owned(),
            Self::Failed(why) => format!("the application gave no token: {why}"),
        };
        StatusReason { code: ErrorCode::NeedsAuth, message }
    }
}

impl Driver {
    /// The application has answered.
    pub(super) fn token(&mut self, attempt: Attempt, outcome: TokenOutcome) {
        self.is_wrong_user = matches!(outcome, TokenOutcome::WrongUser);
        match outcome {
            TokenOutcome::Token(token) => {
                self.no_token = None;
                self.event(Event::TokenReady { attempt, token: Token(token) });
            }
            TokenOutcome::WrongUser | TokenOutcome::Failed(_) => {
                let reason = outcome.reason();
                self.log(LogLevel::Warn, || reason.message.clone());
                self.no_token = Some(reason);
                self.event(Event::TokenFailed { attempt });
            }
        }
    }
}

/// Asks the application. What goes wrong in there is an answer, too.
pub(super) fn ask(config: &Config, attempt: Attempt) -> BoxFuture<'static, Happened> {
    let (callback, user) = (std::sync::Arc::clone(&config.token), config.user.clone());
    Box::pin(async move {
        let asked = AssertUnwindSafe(async move { callback().await }).catch_unwind().await;
        let outcome = match asked {
            Ok(Ok(token)) if is_of_another(&token, &user) => TokenOutcome::WrongUser,
            Ok(Ok(token)) => TokenOutcome::Token(token),
            Ok(Err(error)) => TokenOutcome::Failed(error.to_string()),
            Err(_) => TokenOutcome::Failed("its callback panicked".to_owned()),
        };
        Happened::Token(attempt, outcome)
    })
}

/// Whether a token says that it is of somebody else. One that cannot be read is the server's to
/// judge.
fn is_of_another(token: &str, user: &str) -> bool {
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims =
        claims.and_then(|claims| serde_json::from_slice::<serde_json::Value>(&claims).ok());
    let subject = claims.as_ref().and_then(|claims| claims.get("sub")?.as_str());
    subject.is_some_and(|subject| subject != user)
}

/// Why there is no connection, for people.
pub(super) fn sentence(reason: &Reason) -> String {
    match reason {
        Reason::NoToken => "the application gave no token".to_owned(),
        Reason::Unreachable => "the server cannot be reached: it is tried again".to_owned(),
        Reason::Silent => "the server said nothing for too long: it is tried again".to_owned(),
        Reason::Goodbye { message, .. } => message.clone(),
        Reason::Stalled(stall) => format!(
            "{}: the connection is made anew",
            match stall {
                Stall::Subscription(_) =>
                    "the server is there, and rows that were asked for do not come",
                Stall::Outbox(_) =>
                    "the server is there, and does not say what became of what was written",
            }
        ),
        Reason::Violation(violation) => format!(
            "the server has sent what cannot be ({violation}): it is tried again from what is stored"
        ),
    }
}
