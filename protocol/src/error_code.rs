//! The codes that applications match on.
//!
//! A code never changes its meaning or its spelling. The sentence beside it is for people and may
//! change; it names the thing, the cause and the next step, and never another tenant's data.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Defines the codes once: variant, spelling, and whether asking again unchanged may help.
macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $retry:expr;)*) => {
        /// A stable code, the same in every SDK. Its text is `snake_case`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorCode {
            /// All codes there are.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code as it is sent and written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// Whether the same request may succeed later, unchanged.
            pub const fn may_retry(self) -> bool {
                match self { $(Self::$variant => $retry),* }
            }
        }
    };
}

error_codes! {
    /// There is no connection to a server.
    Offline = "offline", true;
    /// No answer came in time. A write may have happened: ask again with the same request id.
    Timeout = "timeout", true;
    /// The token is missing, expired or not valid.
    NeedsAuth = "needs_auth", false;
    /// The token's user may not do this, or what it names does not exist for this user.
    Forbidden = "forbidden", false;
    /// The namespace, table, column or row does not exist.
    NotFound = "not_found", false;
    /// It exists already.
    AlreadyExists = "already_exists", false;
    /// The request is not well-formed, for example SQL that does not parse.
    InvalidRequest = "invalid_request", false;
    /// It is understood, and not offered. The message names the construct.
    Unsupported = "unsupported", false;
    /// A rule of the table refuses the row: NOT NULL, a range, a length, a duplicate key.
    Constraint = "constraint", false;
    /// What the write expected is no longer so.
    Conflict = "conflict", false;
    /// What was written under an older schema cannot be mapped to the present one.
    SchemaMismatch = "schema_mismatch", false;
    /// The client is older than what the server supports.
    UpdateRequired = "update_required", false;
    /// It exceeds a limit. The message names the limit and its size.
    TooLarge = "too_large", false;
    /// A disk, a memory bound or an allowance is used up.
    Quota = "quota", true;
    /// The server has too much to do just then.
    Overloaded = "overloaded", true;
    /// Nothing has moved for too long. The message names what it waits for.
    Stalled = "stalled", true;
    /// Another tab or node took over. The SDK asks again by itself.
    LeaderChanged = "leader_changed", true;
    /// The application took the mutation back before it was decided; or somebody who runs the
    /// server ended the subscription.
    Cancelled = "cancelled", false;
    /// A defect of Tidewire or of the machine. The server's log has the details.
    Internal = "internal", true;
    /// A code of a later version. It is taken for a temporary failure: only a known verdict ends
    /// a mutation.
    Unknown = "unknown", true;
}

impl ErrorCode {
    /// Where `docs/ERRORS.md` explains the code: its file and anchor.
    pub fn documentation(self) -> String {
        format!("docs/ERRORS.md#{}", self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = Self::ALL.iter().find(|code| code.as_str() == text);
        Ok(known.copied().unwrap_or(Self::Unknown))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
