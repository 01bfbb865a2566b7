//! The key that signs tokens, and the tokens. It never leaves this process, and no page sees it.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

/// Bytes of the key: the file has two digits for each.
const KEY_BYTES: usize = 32;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Own rows, and what SHARED tables grant.
    User,
    /// All SHARED tables, and to act for users.
    Service,
    /// That, and to define tables.
    Admin,
}

/// A key that the sync server verifies with.
#[derive(Clone)]
pub(crate) struct Key(Hmac<Sha256>);

impl Key {
    /// Reads the key from the data directory of a server.
    ///
    /// # Errors
    /// A sentence: there is none, or it is damaged.
    pub(crate) fn read(data: &Path) -> anyhow::Result<Self> {
        let file = data.join("key");
        let text = fs::read_to_string(&file).with_context(|| {
            format!(
                "the key {} cannot be read: name with --data the data directory of a server that \
                 was started once",
                file.display()
            )
        })?;
        Self::parse(text.trim_end())
            .ok_or_else(|| anyhow!("the key {} is damaged: restore it", file.display()))
    }

    fn parse(digits: &str) -> Option<Self> {
        if digits.len() != 2 * KEY_BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let bytes = (0..digits.len()).step_by(2);
        let bytes: Result<Vec<u8>, _> =
            bytes.map(|at| u8::from_str_radix(&digits[at..at + 2], 16)).collect();
        Some(Self(Hmac::new_from_slice(&bytes.ok()?).ok()?))
    }

    /// A token: a JSON Web Token, signed with HS256. Times are seconds since 1970.
    pub(crate) fn token(&self, user: &str, role: Role, expires_at: u64, now: u64) -> String {
        let role = match role {
            Role::User => "user",
            Role::Service => "service",
            Role::Admin => "admin",
        };
        let claims = json!({ "sub": user, "role": role, "iat": now, "exp": expires_at });
        let encode = |part: &str| URL_SAFE_NO_PAD.encode(part);
        let signed = format!("{}.{}", encode(HEADER), encode(&claims.to_string()));
        let mut mac = self.0.clone();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }
}

// Nothing of it belongs in a log.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_64_hexadecimal_digits_and_shows_nothing_of_itself() {
        let folder = tempfile::tempdir().unwrap();
        let error = |text: &str| {
            fs::write(folder.path().join("key"), text).unwrap();
            Key::read(folder.path()).map(drop).unwrap_err().to_string()
        };
        assert!(error("").contains("is damaged"));
        assert!(error(&"0g".repeat(32)).contains("is damaged"));
        assert!(error(&"é".repeat(32)).contains("is damaged"));
        fs::write(folder.path().join("key"), "0a".repeat(32) + "\n").unwrap();
        assert_eq!(format!("{:?}", Key::read(folder.path()).unwrap()), "Key");
        let nowhere = Key::read(&folder.path().join("nowhere")).unwrap_err().to_string();
        assert!(nowhere.contains("--data"), "{nowhere}");
    }

    #[test]
    fn a_token_says_who_it_is_for_and_until_when() {
        let key = Key::parse(&"0a".repeat(32)).unwrap();
        let token = key.token("ann", Role::User, 2, 1);
        let parts: Vec<&str> = token.split('.').collect();
        let decode = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!((parts.len(), decode(parts[0])), (3, HEADER.to_owned()));
        assert_eq!(decode(parts[1]), r#"{"exp":2,"iat":1,"role":"user","sub":"ann"}"#);
        assert_ne!(key.token("ann", Role::Admin, 2, 1), token);
    }
}
