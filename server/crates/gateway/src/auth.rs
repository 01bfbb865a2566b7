//! Who is asking: a JSON Web Token, signed with a key that the server and whoever makes tokens
//! share.
//!
//! Exactly one algorithm is known, HS256, so a token cannot choose how it is verified. Nothing of
//! a token or of the key is ever told, neither in an answer nor in a log.

mod hs256;

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use protocol::ids::TenantId;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::error::{KeyError, Refusal};
use crate::limits::{CLOCK_SKEW_SECONDS, KEY_BYTES_MIN, TOKEN_BYTES_MAX};

/// Who asks, as a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The claim `sub`.
    pub user: TenantId,
    /// The claim `role`.
    pub role: Role,
}

/// What a token that was verified says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) caller: Caller,
    /// When it ends, in seconds since 1970.
    pub(crate) expires_at: u64,
}

/// What a caller may do besides reading and writing its own rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Nothing else.
    #[default]
    User,
    /// Act as a user, and use what is shared among services.
    Service,
    /// Change the schema as well.
    Admin,
}

impl Role {
    /// All roles there are.
    pub const ALL: [Self; 3] = [Self::User, Self::Service, Self::Admin];

    /// The role as a token writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Admin => "admin",
        }
    }
}

/// The key that tokens are signed and verified with. It is overwritten in memory when it is
/// dropped, and its debugging text shows nothing of it.
#[derive(Clone)]
pub struct SigningKey {
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// A key of at least 32 bytes, which are taken as they are.
    ///
    /// # Errors
    /// [`KeyError::Short`].
    pub fn new(key: &[u8]) -> Result<Self, KeyError> {
        if key.len() < KEY_BYTES_MIN {
            return Err(KeyError::Short { bytes: key.len() });
        }
        hs256::install();
        let mut validation = Validation::new(Algorithm::HS256);
        // What is about time is held against the port's clock, below.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        // Whoever a token is meant for, it is not this server: below.
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Ok(Self {
            signing: EncodingKey::from_secret(key),
            verifying: DecodingKey::from_secret(key),
            validation,
        })
    }

    /// A token for a user, valid from `now` until `expires_at_seconds`, both in seconds since 1970.
    ///
    /// # Panics
    /// Never: a key of any length signs, and the claims are text and numbers.
    pub fn sign(&self, user: &TenantId, role: Role, expires_at_seconds: u64, now: u64) -> String {
        let claims =
            Made { sub: user.as_str(), role: role.as_str(), iat: now, exp: expires_at_seconds };
        match jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing) {
            Ok(token) => token,
            Err(error) => panic!("a token cannot be signed: {error}"),
        }
    }

    /// Who the request's head says is asking.
    pub(crate) fn caller(&self, headers: &HeaderMap, now: u64) -> Result<Caller, Refusal> {
        self.verify(bearer(headers)?, now).map(|verified| verified.caller)
    }

    /// Who a token says is asking, and until when.
    pub(crate) fn verify(&self, token: &str, now: u64) -> Result<Verified, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::needs_auth(
                "the token is longer than 4096 bytes: get a smaller one",
            ));
        }
        let known = jsonwebtoken::decode::<Claims>(token, &self.verifying, &self.validation)
            .map_err(|error| refused(error.kind()))?;
        if known.header.crit.is_some() {
            return Err(Refusal::needs_auth(
                "the token asks for an extension (crit): get one without",
            ));
        }
        known.claims.verified(now)
    }
}

/// The token in the head.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (all.next(), all.next()) else {
        return Err(Refusal::needs_auth(
            "send one header `Authorization: Bearer <token>` with the request",
        ));
    };
    header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| Refusal::needs_auth("write the header as `Authorization: Bearer <token>`"))
}

fn refused(kind: &ErrorKind) -> Refusal {
    Refusal::needs_auth(match kind {
        ErrorKind::InvalidSignature => {
            "the token was not signed with this server's key: get one for this server"
        }
        ErrorKind::InvalidAlgorithm => "the token must be signed with HS256: get a new one",
        _ => {
            "the token cannot be read: send a JSON Web Token, signed with HS256, whose claims are \
             `sub`, `exp` and, if it is not \"user\", `role`"
        }
    })
}

/// The claims of a token that we make.
#[derive(Serialize)]
struct Made<'a> {
    sub: &'a str,
    role: &'a str,
    iat: u64,
    exp: u64,
}

/// The claims of a token that comes, as far as they are looked at. A point in time may have a
/// fraction.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    role: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    /// A server has no name by which a token could mean it.
    aud: Option<IgnoredAny>,
}

impl Claims {
    fn verified(self, now: u64) -> Result<Verified, Refusal> {
        if self.aud.is_some() {
            return Err(Refusal::needs_auth(
                "the token is meant for somebody else (aud): get one without",
            ));
        }
        let Some(exp) = self.exp else {
            return Err(Refusal::needs_auth("the token never expires: get one with `exp`"));
        };
        if seconds(now) >= exp {
            return Err(Refusal::needs_auth("the token has expired: get a new one"));
        }
        let latest = seconds(now.saturating_add(CLOCK_SKEW_SECONDS));
        if self.nbf.is_some_and(|from| from > latest) {
            return Err(Refusal::needs_auth(
                "the token is not valid yet (nbf): wait, or set the clock of who made it",
            ));
        }
        let user = self.sub.and_then(|sub| TenantId::new(&sub).ok()).ok_or_else(|| {
            Refusal::needs_auth(
                "the claim `sub` must be a user id of 1 to 128 bytes without control characters: \
                 get another token",
            )
        })?;
        let named = self.role.as_deref().unwrap_or(Role::default().as_str());
        let role = Role::ALL.into_iter().find(|role| role.as_str() == named).ok_or_else(|| {
            Refusal::needs_auth(
                "the claim `role` must be \"user\", \"service\" or \"admin\": get another token",
            )
        })?;
        Ok(Verified { caller: Caller { user, role }, expires_at: whole_seconds(exp) })
    }
}

/// The first whole second that is not before `time`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what lies beyond a u64 is as good as never, and nothing lies before 1970 any more"
)]
fn whole_seconds(time: f64) -> u64 {
    time.ceil() as u64
}

/// Exact for the next 285 million years.
#[expect(clippy::cast_precision_loss, reason = "a point in time lies far below 2^53 seconds")]
fn seconds(since_1970: u64) -> f64 {
    since_1970 as f64
}
