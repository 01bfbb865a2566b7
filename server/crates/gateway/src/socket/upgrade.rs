//! From HTTP to a WebSocket (RFC 6455, section 4.2).

use std::sync::{Arc, OnceLock};

use axum::extract::{Extension, State};
use axum::http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use protocol::error_code::ErrorCode;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::error::Refusal;
use crate::gateway::{Gateway, Number};

/// Where it is noted that behind the answer the connection is a live one: under this number.
#[derive(Clone, Default)]
pub(crate) struct Upgrading(Arc<OnceLock<Number>>);

impl Upgrading {
    /// The number of the request that asked for it, if one did.
    pub(crate) fn number(&self) -> Option<Number> {
        self.0.get().cloned()
    }
}

/// Who asks is said in the first frame, and never in the address, which ends up in logs. So there
/// is nothing that a page of another origin could do in somebody's name, and none is refused.
pub(crate) async fn sync(
    State(_): State<Arc<Gateway>>,
    Extension(number): Extension<Number>,
    Extension(upgrading): Extension<Upgrading>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let asks =
        has_token(&headers, &CONNECTION, "upgrade") && has_token(&headers, &UPGRADE, "websocket");
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| asks);
    let Some(key) = key else {
        return Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "this path is a WebSocket: connect to it as ws:// or wss://",
        )
        .with_status(StatusCode::UPGRADE_REQUIRED));
    };
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::invalid("there is version 13 of WebSockets: connect with that one"));
    }
    let accepted = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| Refusal::internal())?;
    // One connection is upgraded once.
    let _ = upgrading.0.set(number);
    let headers = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, accepted),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = values.flat_map(|value| value.split(','));
    tokens.any(|one| one.trim().eq_ignore_ascii_case(token))
}
