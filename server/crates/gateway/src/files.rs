//! Files of a web application, for whoever asks: everything that is no path of the API.
//!
//! ```text
//!   path ──► a name in the folder ──► a file of it ──► ServeDir: type, validators, ranges, .br and .gz
//!              │ hidden, `..`, `//`      │ none: the page of the application, where a page is wanted
//!              ▼                         ▼
//!           not found                 not found
//! ```
//!
//! Nobody needs a token for them. What a name leads to is looked at before it is opened: a link
//! out of the folder leads nowhere. A file is open for as long as its answer takes, so there are
//! never more of them than connections.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use protocol::error_code::ErrorCode;
use tower_http::services::ServeDir;

use crate::error::{FilesError, Refusal};
use crate::limits::FILE_CHUNK_BYTES;

/// What is asked for where a page is wanted and no file has the name.
const PAGE: &str = "/index.html";

/// What tools that build web applications name after what is in it: it never changes.
const NAMED_BY_CONTENT: &str = "assets/";

const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Kept, and asked about each time.
const ASKED_ABOUT: HeaderValue = HeaderValue::from_static("no-cache");

/// What the API has for itself, also where there is nothing.
const API: &str = "/v1";

/// A folder that is served, and what its pages may do.
#[derive(Clone)]
pub struct Files {
    /// Without links in it.
    folder: PathBuf,
    serve: ServeDir,
    policy: HeaderValue,
}

impl Files {
    /// Serves this folder. Its pages may connect to this server and to the origins in `connect`, such
    /// as `https://sign-in.example.com`.
    ///
    /// # Errors
    /// [`FilesError::Folder`] when it is none or cannot be read; [`FilesError::Origin`] for what is no
    /// origin.
    pub fn open(folder: &Path, connect: &[String]) -> Result<Self, FilesError> {
        let unreadable = |error: io::Error| FilesError::Folder { folder: folder.to_owned(), error };
        let found = folder.canonicalize().map_err(unreadable)?;
        fs::read_dir(&found).map_err(unreadable)?;
        let serve = ServeDir::new(&found)
            .precompressed_br()
            .precompressed_gzip()
            .ignore_multi_range_requests(true)
            .with_buf_chunk_size(FILE_CHUNK_BYTES);
        Ok(Self { folder: found, serve, policy: policy(connect)? })
    }

    /// Answers from the folder.
    pub(crate) async fn answer(&self, request: Request) -> Result<Response, Refusal> {
        let is_read = [Method::GET, Method::HEAD].contains(request.method());
        let path = request.uri().path();
        if !is_read || path == API || path.starts_with("/v1/") {
            return Err(nothing());
        }
        let name = name(path).ok_or_else(nothing)?;
        if self.has(&name).await {
            return self.serve(&name, request).await;
        }
        let page = &PAGE[1..];
        if wants_page(&name, request.headers()) && self.has(page).await {
            let (mut parts, body) = request.into_parts();
            parts.uri = Uri::from_static(PAGE);
            return self.serve(page, Request::from_parts(parts, body)).await;
        }
        Err(nothing())
    }

    /// Whether there is a file of this name, in the folder and not only linked from it. So must be
    /// what would be sent in its place.
    async fn has(&self, name: &str) -> bool {
        let (folder, file) = (self.folder.clone(), self.folder.join(name));
        let looked = tokio::task::spawn_blocking(move || {
            let is_inside = |place: &Path| {
                place.canonicalize().is_ok_and(|real| real.starts_with(&folder) && real.is_file())
            };
            let beside = |ending: &str| {
                let mut name = file.clone().into_os_string();
                name.push(ending);
                PathBuf::from(name)
            };
            let is_safe = |place: PathBuf| place.symlink_metadata().is_err() || is_inside(&place);
            is_inside(&file) && [".br", ".gz"].map(beside).into_iter().all(is_safe)
        });
        looked.await.unwrap_or(false)
    }

    async fn serve(&self, name: &str, request: Request) -> Result<Response, Refusal> {
        let served = self.serve.clone().try_call(request).await;
        let mut response = served.map_err(unread)?.map(Body::new);
        if response.status() == StatusCode::NOT_FOUND {
            return Err(nothing());
        }
        let kept = if name.starts_with(NAMED_BY_CONTENT) { FOREVER } else { ASKED_ABOUT };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, kept);
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(response)
    }
}

/// What is answered where there is nothing.
pub(crate) fn nothing() -> Refusal {
    Refusal::new(
        ErrorCode::NotFound,
        "there is nothing at this path: POST /v1/sql runs a statement, GET /v1/sync is a live \
         connection, GET /health and GET /ready tell how the server is",
    )
}

/// A file that went between two looks is not there. All else is for who runs the server.
fn unread(error: io::Error) -> Refusal {
    use io::ErrorKind::{NotADirectory, NotFound};
    if matches!(error.kind(), NotADirectory | NotFound) {
        return nothing();
    }
    tracing::error!(%error, "a file that is served cannot be read: see who may, and the disk");
    Refusal::new(ErrorCode::Internal, "a file cannot be read: tell whoever runs this server")
}

/// The name within the folder that a path means; none for one that is hidden, or leads elsewhere.
fn name(path: &str) -> Option<String> {
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let path = path.strip_prefix('/')?;
    let of_folder = if path.is_empty() || path.ends_with('/') { &PAGE[1..] } else { "" };
    let name = format!("{path}{of_folder}");
    let is_clear = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0', ':'])
    };
    name.split('/').all(is_clear).then_some(name)
}

/// Whether somebody goes to a place within the application, which knows by itself what that is: a
/// page is wanted, and the name is not that of a file.
fn wants_page(name: &str, headers: &HeaderMap) -> bool {
    let is_page = name.ends_with(PAGE);
    let is_file = name.rsplit('/').next().is_some_and(|last| last.contains('.'));
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    (is_page || !is_file) && accepts.into_iter().any(|accept| accept.contains("text/html"))
}

/// What pages may do. All scripts are files of the folder; WebAssembly is compiled.
fn policy(connect: &[String]) -> Result<HeaderValue, FilesError> {
    let mut origins = String::new();
    for origin in connect {
        if !is_origin(origin) {
            return Err(FilesError::Origin { given: origin.clone() });
        }
        origins.push(' ');
        origins.push_str(origin);
    }
    let policy = format!(
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src \
         'self'{origins}; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).map_err(|_| FilesError::Origin { given: connect.join(" ") })
}

/// Whether it is a scheme and a host, as `https://host:1`: nothing in it ends a part of the policy.
fn is_origin(text: &str) -> bool {
    let schemes = ["http://", "https://", "ws://", "wss://"];
    let host = schemes.into_iter().find_map(|scheme| text.strip_prefix(scheme));
    let is_of_host = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    host.is_some_and(|host| !host.is_empty() && host.chars().all(is_of_host))
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("folder", &self.folder).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_name_within_the_folder_or_nothing() {
        for (path, expected) in [
            ("/", "index.html"),
            ("/a", "a"),
            ("/a%20b.js", "a b.js"),
            ("/a/b.js", "a/b.js"),
            ("/a/", "a/index.html"),
        ] {
            assert_eq!(name(path).as_deref(), Some(expected), "{path}");
        }
        for path in [
            "",
            "*",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/.git/x",
            "/a/.x",
            "/a/../b",
            "/%2e%2e/x",
            "/a%2f..%2fb",
            "/a%5cb",
            "/..%5cb",
            "/a%00",
            "/%ff",
            "/c:/x",
            "/%2fetc/x",
        ] {
            assert_eq!(name(path), None, "{path}");
        }
    }

    #[test]
    fn an_origin_cannot_say_more_in_the_policy_than_where_to() {
        for good in ["http://127.0.0.1:7421", "wss://a-b.example", "https://[::1]:1"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in
            ["", "https://", "*", "'self'", "https://a; script-src *", "https://a/b", "x://a"]
        {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
