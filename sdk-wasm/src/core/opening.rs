//! How a client begins and ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Once;

use sdk_core::{Client, Config, LogLevel, SignOut};
use tokio::sync::{mpsc, oneshot};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};

use super::{Core, Outcome, failed};
use crate::events::Events;
use crate::files::{self, Files};
use crate::given::{self, Host, duration};
use crate::objects::Fault;
use crate::socket::Web;

/// Who waits for a token.
type TokenRequest = oneshot::Sender<Result<String, String>>;

#[wasm_bindgen]
impl Core {
    /// Opens the replica of a server and user, or makes it, and begins to connect. It is on the private
    /// files of the origin, unless there are `files`. Others may be open, of other users, and several may be
    /// opened at once.
    ///
    /// Of the files of the origin the code of an error says: `unsupported` that this browser has none, or not
    /// here; `leader_changed` that another worker has them open; `quota` that there is no room.
    pub async fn open(config: given::Config, host: Host, files: Option<Files>) -> Outcome<Core> {
        tell_panics();
        let pool =
            files::open(&config.directory().unwrap_or_default(), files).await.map_err(failed)?;
        let mut servers = config.servers().into_iter().map(String::from);
        let server = servers.next().unwrap_or_default();
        let (tokens, requests) = mpsc::unbounded_channel::<TokenRequest>();
        let token = move || {
            let (answer, answered) = oneshot::channel();
            // When it cannot be asked, the answer is gone.
            let _ = tokens.send(answer);
            async move { Ok(answered.await.map_err(|_| "the page has gone")??) }
        };
        let mut setting = Config::in_pool(server, config.user(), pool, token);
        for server in servers {
            setting = setting.or_server(server);
        }
        if let Some(name) = config.name() {
            setting = setting.with_name(name);
        }
        setting = options(setting, &config)?;
        let (lines, logged) = mpsc::unbounded_channel();
        if host.log().is_some() {
            setting = setting.with_log(move |level, line| {
                // Nobody may read it any more.
                let _ = lines.send((level, line.to_owned()));
            });
        }
        let opened = Client::open_with(setting, |servers| Box::new(Web(servers)));
        let (client, running) = opened.map_err(failed)?;
        spawn_local(running);
        spawn_local(ask_for_tokens(JsCast::unchecked_into(JsValue::from(&host)), requests));
        spawn_local(log(JsCast::unchecked_into(JsValue::from(&host)), logged));
        let events = Events::start(host);
        events.tell_of(&client);
        Ok(Self {
            client,
            rests: Rc::default(),
            events: RefCell::new(events),
            subscriptions: RefCell::new(HashMap::new()),
            transactions: RefCell::new(HashMap::new()),
        })
    }

    /// Lets the files of the origin go, so that another worker can open them at once, until the next one is
    /// opened here. Nothing happens when they are not open, or where replicas are on the files of a host.
    /// Fails with `invalid_request` while a client that is not closed has them.
    #[wasm_bindgen(js_name = letGo)]
    pub async fn let_go() -> Outcome<()> {
        files::let_go().await.map_err(failed)
    }

    /// Ends everything. The files are free when the worker ends, or lets them go.
    pub async fn close(&self) {
        self.client.close().await;
    }

    /// Ends everything, because the user signs out: the replica stays (`"keep"`), or goes (`"wipe"`).
    #[wasm_bindgen(js_name = signOut)]
    pub async fn sign_out(&self, data: String, discard_pending: bool) -> Outcome<()> {
        let data = match data.as_str() {
            "keep" => SignOut::Keep,
            "wipe" => SignOut::Wipe,
            other => {
                let why =
                    format!("the replica stays with \"keep\" or goes with \"wipe\", not {other:?}");
                return Err(Fault::new(why).into());
            }
        };
        let _turn = files::turn().await;
        self.client.sign_out(data, discard_pending).await.map_err(failed)
    }
}

/// What of a configuration is not needed.
fn options(mut setting: Config, config: &given::Config) -> Outcome<Config> {
    let every = config.verify_every_ms();
    if every.is_null() {
        setting = setting.with_verification(None);
    } else if let Some(millis) = every.as_f64() {
        setting = setting.with_verification(Some(duration("verifyEvery", millis)?));
    }
    if let Some(millis) = config.stall_after_ms() {
        setting = setting.with_stalled_after(duration("stalledAfter", millis)?);
    }
    if let Some(version) = config.app_version() {
        setting = setting.with_app_version(version);
    }
    Ok(setting)
}

/// Asks the host, until the client is gone.
async fn ask_for_tokens(host: Host, mut requests: mpsc::UnboundedReceiver<TokenRequest>) {
    while let Some(answer) = requests.recv().await {
        let asked = host.token();
        // An answer may take long, and who asks again does not wait for it.
        spawn_local(async move {
            let token = match asked {
                Ok(token) => JsFuture::from(token).await,
                Err(error) => Err(error),
            };
            let token = token
                .map_err(|error| message(&error))
                .and_then(|token| token.as_string().ok_or_else(|| "it is no string".to_owned()));
            // The client may be closed by now.
            let _ = answer.send(token);
        });
    }
}

/// What an error of JavaScript says.
fn message(error: &JsValue) -> String {
    let error = error.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    error.unwrap_or_else(|| "it was refused".to_owned())
}

/// Passes on the lines of the log, until the client is gone.
async fn log(host: Host, mut lines: mpsc::UnboundedReceiver<(LogLevel, String)>) {
    while let Some((level, line)) = lines.recv().await {
        let level = match level {
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        };
        if let Some(log) = host.log() {
            // What goes wrong in it ends nothing else.
            let _ = log.call2(&host, &level.into(), &line.into());
        }
    }
}

/// A panic ends the worker, and what the browser says of it does not tell why.
fn tell_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| complain(&panic.to_string()))));
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn complain(text: &str);
}
