//! `tidewire token`: a token for a user.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use protocol::ids::TenantId;
use server_gateway::{Clock, SigningKey};

use super::{Role, print};
use crate::data_dir;
use crate::wiring::SystemClock;

const DAY_SECONDS: u64 = 24 * 60 * 60;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Whose token it is.
    #[arg(long)]
    user: String,
    /// What it allows.
    #[arg(long, value_enum, default_value = "user")]
    role: Role,
    /// For how many days.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_650))]
    days: u64,
    /// The data directory of the server that is to accept it.
    #[arg(long, value_name = "DIR", default_value = "./tidewire-data")]
    data: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { user, role, days, data } = arguments;
    print(&sign(data, user, *role, days * DAY_SECONDS)?)
}

/// Signs a token with the key of a data directory.
pub(super) fn sign(data: &Path, user: &str, role: Role, seconds: u64) -> anyhow::Result<String> {
    let user: TenantId = user.parse().with_context(|| format!("the user {user:?}"))?;
    let key = data_dir::key_of(data)?;
    let key = SigningKey::new(&key.0).map_err(|error| anyhow!("the signing key: {error}"))?;
    let now = SystemClock.now_seconds();
    Ok(key.sign(&user, role.into(), now.saturating_add(seconds), now))
}
