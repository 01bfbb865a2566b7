//! Every bound of the gateway, with its reason and with what happens at it.

use std::time::Duration;

/// How much the gateway takes. The defaults are for one server on a machine of its own.
///
/// Together they bound its memory: about `requests_max` bodies and answers, and the buffers of
/// `connections_max` connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. One more is answered `overloaded` and closed.
    pub connections_max: usize,
    /// Requests at once that carry a body, from their head until their answer is with the
    /// operating system. One more is answered `overloaded`, before its body is read.
    pub requests_max: usize,
    /// Bytes of a request's head. A longer one, or one of more than 100 lines, is answered 431, and
    /// the connection closed.
    pub header_bytes_max: usize,
    /// Bytes of a body. A longer one is answered `too_large` when its head or its bytes show it,
    /// and the connection closed. The default takes the largest commit there is, as base64.
    pub body_bytes_max: usize,
    /// Bytes of a statement's text, behind which it is answered `too_large`.
    pub sql_bytes_max: usize,
    /// Parameters of a statement, behind which it is answered `too_large`.
    pub params_max: usize,
    /// From the first moment that a request could be read until its head is there: also how long a
    /// connection may be idle between two. The connection is closed.
    pub header_read_timeout: Duration,
    /// For all of a body. The request is answered 408, nothing is run, the connection closed.
    pub body_read_timeout: Duration,
    /// For running a statement: what the port is told as the deadline. Behind it the answer is
    /// `timeout`.
    pub statement_timeout: Duration,
    /// For an answer to be taken by the client, from when it stops taking bytes at once; on a live
    /// connection for all of one answer, from when it is its turn. The connection is closed.
    pub write_timeout: Duration,
    /// For the first message of a live connection. Behind it the client is told `timeout`, and the
    /// connection closed.
    pub hello_timeout: Duration,
    /// From one sign of life of a live connection to the next. A client that says nothing for three
    /// of them and five seconds, not even that it has heard one, is taken for gone.
    pub keep_alive: Duration,
    /// Bytes that wait for one live connection. Beyond it nothing more is read from the client, and
    /// what is live for it lags behind.
    pub socket_queue_bytes_max: usize,
    /// The oldest version of an application's code that is served, as `hello` says it; 0 is any. An
    /// older one is told `update_required`.
    pub app_version_min: u32,
    /// For running requests to finish at a shutdown. Behind it they are answered `timeout`, and
    /// what then still goes on is ended.
    pub shutdown_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            requests_max: 256,
            header_bytes_max: 16 * 1024,
            body_bytes_max: 2 * 1024 * 1024,
            sql_bytes_max: 1024 * 1024,
            params_max: 32_766,
            header_read_timeout: Duration::from_secs(30),
            body_read_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            hello_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(10),
            socket_queue_bytes_max: 4 * 1024 * 1024,
            app_version_min: 0,
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// How long a client may say nothing at all.
    pub(crate) fn peer_silence_max(&self) -> Duration {
        self.keep_alive.saturating_mul(3).saturating_add(Duration::from_secs(5))
    }
}

/// What a live connection reads at once, in bytes. The buffer is touched at every read and is most
/// of what an idle connection costs; a client says little.
pub(crate) const SOCKET_READ_BYTES: usize = 1_024;

/// How many bytes of small frames are gathered for one write.
pub(crate) const SOCKET_WRITE_BYTES: usize = 8 * 1_024;

/// How many bytes that could not be written yet the WebSocket library keeps. Frames of ours are
/// written before the next; this bounds the answers to the Pings of who does not read: beyond it
/// only the last Ping is answered.
pub(crate) const SOCKET_UNWRITTEN_BYTES_MAX: usize = 64 * 1_024;

/// The largest piece of a frame that is written at once, in bytes. The WebSocket library copies it
/// into a buffer that never becomes smaller again.
pub(crate) const SOCKET_PIECE_BYTES: usize = 8 * 1_024;

/// About how many bytes go out before a live connection looks at anything else.
pub(crate) const SOCKET_TURN_BYTES: usize = 64 * 1_024;

/// About how many bytes of rows a piece of an answer has on a live connection.
pub(crate) const RESULT_PIECE_BYTES: usize = 256 * 1_024;

/// When the server stops, clients come back within so many milliseconds.
pub(crate) const STOP_SPREAD_MS: u64 = 2_000;

/// The longest token, in bytes: ours have about 200, and nothing else is verified.
pub(crate) const TOKEN_BYTES_MAX: usize = 4 * 1024;

/// The fewest bytes of a key: as many as a SHA-256 hash has, which RFC 7518 asks for.
pub(crate) const KEY_BYTES_MIN: usize = 32;

/// By how much the clock of who makes tokens may be ahead, in seconds, when it says from when on
/// one is valid.
pub(crate) const CLOCK_SKEW_SECONDS: u64 = 60;

/// The longest number, in characters. A DOUBLE written out in full has fewer.
pub(crate) const NUMBER_BYTES_MAX: usize = 1_024;

/// The longest part of a message that tells what a parser said, in characters: it may quote.
pub(crate) const QUOTE_CHARACTERS_MAX: usize = 200;

/// What is read of a file at once, in bytes: what a connection takes of the memory while one is sent.
pub(crate) const FILE_CHUNK_BYTES: usize = 32 * 1024;

/// What a connection reads ahead, in bytes.
pub(crate) const READ_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// How much longer than its deadline a statement may take to say so itself, which it does better.
pub(crate) const DEADLINE_GRACE: Duration = Duration::from_millis(250);

/// When to ask again after `overloaded`: a statement usually takes less.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Connections beyond the limit that are told so at once; one more is closed without a word.
pub(crate) const REFUSALS_MAX: usize = 64;

/// How often the log says that connections are refused, at most.
pub(crate) const REFUSALS_WARNED_EVERY: Duration = Duration::from_secs(10);

/// How long a closed connection is read on, and for how many bytes. Closing it over unread bytes
/// would reset it, and the client might never see the answer that says why.
pub(crate) const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// See [`LINGER_TIMEOUT`].
pub(crate) const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long to wait when no connection can be accepted, as when all file descriptors are in use.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long answers may take to get out after running requests were given up.
pub(crate) const GIVE_UP_GRACE: Duration = Duration::from_secs(1);
