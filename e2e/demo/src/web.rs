//! The web chat: a server that has its files, what signs people in, and a conversation.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use e2e_harness::{Chat, Home, Server, sign_in};

use crate::Outcome;

/// Those for whom an address is printed.
pub(crate) const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];

/// Where the server and the sign-in are.
pub(crate) struct Site {
    /// What signs people in. First, so that it ends before the server.
    pub(crate) sign_in: Chat,
    /// Its address, as `http://…`.
    pub(crate) sign_in_at: String,
    /// Where the page is, as `http://…`.
    pub(crate) page_at: String,
    pub(crate) home: Home,
}

impl Site {
    /// Starts everything, on an empty directory: the server at this port and the sign-in at the next
    /// one, or both at any.
    pub(crate) fn start(built: &Path, port: Option<u16>) -> Outcome<(Self, Server)> {
        let mut home = Home::new();
        let (server_port, sign_in_port) = match port {
            Some(port) => (port, port.checked_add(1).ok_or("--port is too high: name another")?),
            None => free_ports()?,
        };
        let files = home.folder("web");
        copy(built, &files)?;
        let sign_in_at = format!("http://127.0.0.1:{sign_in_port}");
        // The page learns from it where to sign in.
        fs::write(files.join("config.json"), format!("{{\"signIn\": \"{sign_in_at}\"}}\n"))?;
        // As JSON writes text, so does TOML.
        home.set(&format!("[files]\nfolder = {files:?}\nconnect = [{sign_in_at:?}]\n"));
        home.take_port(server_port);
        let server = home.start();
        let address = home.admin().address();
        let page_at = format!("http://{address}");
        let (data, folder) = (home.data(), home.folder("sign-in"));
        let listen = format!("127.0.0.1:{sign_in_port}");
        let mut command = sign_in(&address, &data, &folder, &listen);
        command.args(["--seed", "--origin"]).arg(&page_at);
        let mut sign_in = Chat::spawn(command, |_| {});
        sign_in.until("chat-signin is ready at ");
        Ok((Self { sign_in, sign_in_at, page_at, home }, server))
    }

    /// The address that opens the app as somebody.
    pub(crate) fn page_of(&self, user: &str) -> String {
        format!("{}/?as={user}", self.page_at)
    }
}

/// Two ports that nobody has at the moment.
fn free_ports() -> Outcome<(u16, u16)> {
    let any = || TcpListener::bind("127.0.0.1:0");
    let (one, other) = (any()?, any()?);
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}

/// Copies a folder, so that nothing is written into what was built.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// All files below a folder, as paths of the site.
pub(crate) fn paths(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut open: Vec<PathBuf> = vec![folder.to_owned()];
    let mut paths = Vec::new();
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(place)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(inside) = path.strip_prefix(folder) {
                paths.push(format!("/{}", inside.display()));
            }
        }
    }
    paths.sort();
    Ok(paths)
}
