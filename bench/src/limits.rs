//! Raw limits: what the machine does without Tidewire.

pub(crate) mod broadcast;
pub(crate) mod echo;
pub(crate) mod fsync;
pub(crate) mod kv;
pub(crate) mod sqlite;

use axum::Router;
use axum::serve::ListenerExt as _;

/// Serves until it is ended, and says where.
fn serve(routes: Router) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        std::println!("ready at http://{}", listener.local_addr()?);
        let listener = listener.tap_io(|stream| {
            // Without it, it is only slower.
            let _ = stream.set_nodelay(true);
        });
        Ok(axum::serve(listener, routes).await?)
    })
}
