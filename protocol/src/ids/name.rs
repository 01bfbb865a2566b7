use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error_code::ErrorCode;
use crate::limits::{NAME_BYTES_MAX, TENANT_ID_BYTES_MAX};

/// Namespaces that nobody may create. `system` holds the system tables; the others have a meaning
/// of their own where `namespace.table` is written: in SQLite, or in the SQL of the server.
const RESERVED_NAMESPACES: [&str; 7] =
    ["system", "sqlite", "tw", "main", "temp", "information_schema", "pg_catalog"];

/// No namespace begins so: the tables of a replica that do are SQLite's and the SDK's own.
const RESERVED_PREFIXES: [&str; 2] = ["sqlite_", "tw_"];

/// The name of a namespace, table or column: `[a-z][a-z0-9_]*` without `__`, at most
/// [`NAME_BYTES_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// Accepts `text` as a name.
    ///
    /// # Errors
    /// [`NameError`] says which rule is broken.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let broken = |rule| NameError::new(text, rule);
        if text.len() > NAME_BYTES_MAX {
            return Err(broken(NameRule::Long));
        }
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !text.starts_with(|c: char| c.is_ascii_lowercase()) || !text.chars().all(known) {
            return Err(broken(NameRule::Characters));
        }
        if text.contains("__") {
            return Err(broken(NameRule::TwoUnderscores));
        }
        Ok(Self(text.into()))
    }

    /// The same, for the name of a namespace that somebody wants to create.
    ///
    /// # Errors
    /// [`NameError`] says which rule is broken, or that the name is reserved.
    pub fn new_namespace(text: &str) -> Result<Self, NameError> {
        let reserved = RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix));
        if reserved || RESERVED_NAMESPACES.contains(&text) {
            return Err(NameError::new(text, NameRule::Reserved));
        }
        Self::new(text)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A table of a namespace, written `chat.messages`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableName {
    /// The part before the dot.
    pub namespace: Name,
    /// The part behind the dot.
    pub table: Name,
}

impl TableName {
    /// What the table is called in the replica: `chat__messages`. No two tables share one, since
    /// neither part contains `__` and the second begins with a letter.
    pub fn in_replica(&self) -> String {
        format!("{}__{}", self.namespace, self.table)
    }

    /// The table that is called this in the replica, if any can be. SQLite does not tell upper from
    /// lower case in names.
    pub fn of_replica(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        // The last one: a namespace may end with `_`, and a table does not begin with it.
        let (namespace, table) = name.rsplit_once("__")?;
        format!("{namespace}.{table}").parse().ok()
    }
}

/// The user id that owns a partition: 1 to [`TENANT_ID_BYTES_MAX`] bytes without control
/// characters, as the token's `sub` claim gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Accepts `text` as a user id.
    ///
    /// # Errors
    /// [`TenantIdError`] when it is empty, too long, or has a control character in it.
    pub fn new(text: &str) -> Result<Self, TenantIdError> {
        if text.is_empty() || text.len() > TENANT_ID_BYTES_MAX || text.contains(char::is_control) {
            return Err(TenantIdError);
        }
        Ok(Self(text.into()))
    }

    /// The user id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The unit of order, atomicity, exactly-once and visibility. It follows from the kind of a table,
/// its namespace and the user, so a device that has the schema knows it offline.
///
/// Written `user/alice` or `shared/chat`; this text is hashed to place the lane, so it never
/// changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Lane {
    /// All USER and STREAM tables of one tenant.
    User(TenantId),
    /// All SHARED tables of one namespace.
    Shared(Name),
}

/// A name that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name:?} is not a name: {rule}")]
pub struct NameError {
    name: String,
    rule: NameRule,
}

impl NameError {
    /// The code an application matches on.
    pub fn code(&self) -> ErrorCode {
        match self.rule {
            NameRule::Long => ErrorCode::TooLarge,
            _ => ErrorCode::InvalidRequest,
        }
    }

    fn new(text: &str, rule: NameRule) -> Self {
        Self { name: text.chars().take(NAME_BYTES_MAX + 1).collect(), rule }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
enum NameRule {
    #[error("use at most {NAME_BYTES_MAX} bytes")]
    Long,
    #[error("begin with a letter a-z and use only a-z, 0-9 and single _")]
    Characters,
    #[error("__ is kept for the names of the local replica, use a single _")]
    TwoUnderscores,
    #[error("it is reserved, choose another namespace")]
    Reserved,
    #[error("write it as namespace.table")]
    NoNamespace,
    #[error("write it as user/<user id> or shared/<namespace>")]
    NoLane,
}

/// A user id that cannot own a partition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a user id has 1 to {TENANT_ID_BYTES_MAX} bytes and no control character")]
pub struct TenantIdError;

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl FromStr for TenantId {
    type Err = TenantIdError;

    fn from_str(text: &str) -> Result<Self, TenantIdError> {
        Self::new(text)
    }
}

impl FromStr for TableName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (namespace, table) =
            text.split_once('.').ok_or_else(|| NameError::new(text, NameRule::NoNamespace))?;
        Ok(Self { namespace: Name::new(namespace)?, table: Name::new(table)? })
    }
}

impl FromStr for Lane {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let broken = || NameError::new(text, NameRule::NoLane);
        match text.split_once('/') {
            Some(("user", tenant)) => TenantId::new(tenant).map(Self::User).map_err(|_| broken()),
            Some(("shared", namespace)) => Name::new(namespace).map(Self::Shared),
            _ => Err(broken()),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.table)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(tenant) => write!(f, "user/{tenant}"),
            Self::Shared(namespace) => write!(f, "shared/{namespace}"),
        }
    }
}

/// The wire carries each of these as its text, and refuses text that is none of them.
macro_rules! travels_as_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = <$name as FromStr>::Err;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.to_string()
            }
        }
    )*};
}

travels_as_text!(Name, TableName, TenantId, Lane);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_breaks_a_rule_is_told_which() {
        let message = |text: &str| Name::new(text).unwrap_err().to_string();
        assert!(Name::new("a").is_ok() && Name::new("a_1_").is_ok());
        assert!(Name::new(&"a".repeat(63)).is_ok());
        assert!(message(&"a".repeat(64)).contains("at most 63 bytes"));
        assert!(message("a__b").contains("use a single _"));
        for text in ["", "_a", "1a", "A", "a-b", "a.b", "ä", "a b", "a\0"] {
            assert!(message(text).contains("begin with a letter"), "{text:?}");
        }
        assert!(Name::new("tw").is_ok());
        assert!(Name::new_namespace("tweets").is_ok());
        for text in ["tw", "tw_x", "sqlite", "sqlite_", "system", "main", "information_schema"] {
            assert!(Name::new_namespace(text).unwrap_err().to_string().contains("reserved"));
        }
    }

    #[test]
    fn two_tables_never_share_a_replica_table() {
        let parts = ["a", "a_", "b", "b_a", "a_b", "a_b_"];
        let mut seen = std::collections::BTreeSet::new();
        for namespace in parts {
            for table in parts {
                let name: TableName = format!("{namespace}.{table}").parse().unwrap();
                assert!(seen.insert(name.in_replica()), "{name}");
                assert_eq!(TableName::of_replica(&name.in_replica()), Some(name));
            }
        }
    }

    #[test]
    fn a_lane_reads_back_from_its_text() {
        for text in ["user/alice", "user/a/b", "user/shared/x", "shared/chat"] {
            assert_eq!(text.parse::<Lane>().unwrap().to_string(), text);
        }
        for text in ["", "user/", "shared/A", "alice", "user\u{0}/a", "user/a\n"] {
            assert!(text.parse::<Lane>().is_err(), "{text:?}");
        }
    }
}
