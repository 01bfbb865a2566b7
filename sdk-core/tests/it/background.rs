//! Going to the background and coming back, again and again and at any point: nothing is held between, and
//! nothing is lost.

use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::frame::v1::{Goodbye, ServerFrame};
use sdk_core::{Client, Error, ErrorCode, LogLevel, Mutation, StatusWord, SubscribeOptions, Value};
use tokio::select;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::fake::{Device, Fake, ids, row, soon};
use crate::honest::{Notes, Still};

const ALL: &str = "SELECT * FROM app.notes";
const INSERT: &str = "INSERT INTO app.notes VALUES ($1, 'mine')";
const SHOWN: &str = "SELECT id FROM app.notes ORDER BY id";
const WITHIN: Duration = Duration::from_secs(20);
const CYCLES: u64 = 100;

async fn subscribe(client: &Client) {
    client.subscribe(ALL, &[], SubscribeOptions::default()).await.unwrap();
}

async fn insert(client: &Client, id: i64) -> Result<Mutation, Error> {
    // Some of them have code between their statements, so a transaction is open for longer.
    if id % 5 > 0 {
        return client.execute(INSERT, &[Value::Integer(id)]).await;
    }
    let done = client.transaction(async |transaction| {
        transaction.execute(INSERT, &[Value::Integer(id)]).await?;
        transaction.query(SHOWN, &[]).await.map(drop)
    });
    done.await.map(|((), mutation)| mutation)
}

/// A server that serves one connection after the other until it is told to end.
fn serve(fake: Fake, mut notes: Notes) -> (oneshot::Sender<()>, tokio::task::JoinHandle<Notes>) {
    let (end, ended) = oneshot::channel();
    let server = tokio::spawn(async move {
        let serving = async {
            loop {
                let (mut session, hello) = fake.accept().await;
                notes.serve(&mut session, &hello).await.unwrap();
            }
        };
        select! {
            () = serving => {}
            _ = ended => {}
        }
        notes
    });
    (end, server)
}

/// Writes one note after the other until it is told to end. Gives those that were written.
fn write(client: Client) -> (oneshot::Sender<()>, tokio::task::JoinHandle<Vec<i64>>) {
    let (end, mut ended) = oneshot::channel();
    let writer = tokio::spawn(async move {
        let mut written = Vec::new();
        let mut id = 1_000;
        while ended.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            match insert(&client, id).await {
                Ok(_) => {
                    written.push(id);
                    id += 1;
                }
                // It was stopped, and nothing of it was done: it is written again.
                Err(error) => assert!(
                    matches!(error.code(), ErrorCode::Cancelled | ErrorCode::Timeout),
                    "{error}"
                ),
            }
            sleep(Duration::from_millis(1)).await;
        }
        written
    });
    (end, writer)
}

/// P1: a hundred times while rows come and the application writes. Nobody has the file meanwhile, with
/// or without a transaction; and in the end each row is there once, here and at the server.
#[tokio::test]
async fn a_hundred_suspensions_under_load_hold_nothing_and_lose_nothing() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    let mut notes = Notes::new(2);
    notes.every = Some(Duration::from_millis(2));
    let (end_server, server) = serve(fake, notes);
    let all = client.subscribe(ALL, &[], SubscribeOptions::default()).await.unwrap();
    soon(all.ready()).await.unwrap();
    let mut watch = client.watch(SHOWN, &[]).unwrap();
    let (end_writer, writer) = write(client.clone());
    for cycle in 0..CYCLES {
        // Sometimes before there is a connection, and sometimes in the middle of one.
        sleep(Duration::from_millis(cycle % 7 * 4)).await;
        soon(client.suspend(WITHIN)).await.unwrap();
        assert!(device.is_free(), "cycle {cycle}");
        assert_eq!(client.query(SHOWN, &[]).await.unwrap_err().code(), ErrorCode::Cancelled);
        client.resume();
    }
    end_writer.send(()).unwrap();
    let written = soon(writer).await.unwrap();
    soon(client.wait_for_sync(WITHIN)).await.unwrap();
    assert_eq!(client.pending().await.unwrap().count(), 0);
    soon(client.suspend(WITHIN)).await.unwrap();
    end_server.send(()).unwrap();
    let notes = soon(server).await.unwrap();
    client.resume();
    let shown = ids(&client.query(SHOWN, &[]).await.unwrap());
    // The server may have made some that have not come any more.
    let there: Vec<i64> =
        notes.ids().into_iter().filter(|id| *id <= shown[shown.len() - 1]).collect();
    assert_eq!(shown, there);
    soon(async { while ids(&watch.next().await.unwrap().rows) != shown {} }).await;
    let mine: Vec<i64> =
        shown.iter().copied().filter(|id| (1_000..1_000_000).contains(id)).collect();
    assert_eq!(mine, written);
    let theirs = shown.len() - mine.len();
    assert_eq!(notes.decided(), written.len());
    assert!(written.len() > 30 && theirs > 30, "{} and {theirs} are no load", written.len());
}

/// P1: what does not let go within its deadline is told as such, and lets go when it can.
#[tokio::test]
async fn a_deadline_that_passes_is_told_and_the_file_is_free_later() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (begun, has_begun) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let (begun, ended) = (Mutex::new(begun), Arc::new(Mutex::new(ended)));
    // The log of the application stands still, as a slow disk does.
    let config = device.config(&fake.url()).with_log(move |level, line| {
        if level == LogLevel::Info && line.contains("goodbye") {
            begun.lock().unwrap().send(()).unwrap();
            let _ = ended.lock().unwrap().recv();
        }
    });
    let client = Client::open(config).await.unwrap();
    let (mut session, _) = fake.welcome().await;
    let (code, message) = (ErrorCode::Overloaded, "later".to_owned());
    let goodbye = Goodbye { code, message, retry_after_ms: None };
    session.send(ServerFrame::Goodbye(goodbye)).await;
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
    let late = soon(client.suspend(Duration::from_millis(50))).await.unwrap_err();
    assert_eq!(late.code(), ErrorCode::Timeout);
    assert!(late.to_string().starts_with("the client is not suspended yet"), "{late}");
    assert!(!device.is_free());
    drop(end);
    // Once more is told when it is done.
    soon(client.suspend(WITHIN)).await.unwrap();
    assert!(device.is_free());
    assert_eq!(client.status().word, StatusWord::Paused);
    client.resume();
    soon(client.execute("CREATE TABLE mine (id INTEGER)", &[])).await.unwrap();
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client is dropped, and ends in order.
    Dropped,
    /// Nothing of it runs any more: the files are as they are.
    Killed,
}

/// A replica of which half is loaded, with a write that waits.
async fn with_half(device: &Device, notes: &mut Notes) {
    let fake = Fake::new().await;
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    let (mut session, hello) = fake.accept().await;
    // Welcome, the answer, the frontier, and one batch of two.
    notes.frames_left = Some(4);
    let Still = notes.serve(&mut session, &hello).await.unwrap_err();
    soon(async {
        while client.query(SHOWN, &[]).await.map(|rows| ids(&rows)) != Ok(vec![2]) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    client.pause();
    client.execute(INSERT, &[Value::Integer(5)]).await.unwrap();
    soon(client.close()).await;
}

/// The files of a device as they are, at another place.
fn copied(device: &Device) -> Device {
    let copy = Device::new();
    let name = device.file().file_name().unwrap().to_owned();
    for end in ["", "-wal"] {
        let mut name = name.clone();
        name.push(end);
        let (from, to) = (device.directory.path().join(&name), copy.directory.path().join(&name));
        if Path::exists(&from) {
            std::fs::copy(from, to).unwrap();
        }
    }
    copy
}

/// The process ends when so many frames have come or gone, and the next one begins. Says whether so
/// many came.
async fn ends_after(frames: usize, end: End) -> bool {
    let (device, mut notes) = (Device::new(), Notes::new(2));
    with_half(&device, &mut notes).await;
    notes.add(row(3));

    let fake = Fake::new().await;
    let client = device.open(&fake.url()).await;
    let mut once = tokio::spawn({
        let client = client.clone();
        async move { client.sync_once(WITHIN).await }
    });
    let (mut session, hello) = fake.accept().await;
    notes.frames_left = Some(frames);
    let is_over = select! {
        still = notes.serve(&mut session, &hello) => {
            still.unwrap_err();
            once.abort();
            false
        }
        done = &mut once => {
            done.unwrap().unwrap();
            true
        }
    };
    let device = match end {
        End::Dropped => device,
        End::Killed => copied(&device),
    };
    drop((client, session, fake));

    let fake = Fake::new().await;
    let client = soon(async {
        // What was dropped takes a moment.
        loop {
            match Client::open(device.config(&fake.url())).await {
                Ok(client) => break client,
                Err(error) => assert_eq!(error.code(), ErrorCode::LeaderChanged, "{error}"),
            }
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    notes.frames_left = None;
    let (end_server, server) = serve(fake, notes);
    soon(client.sync_once(WITHIN)).await.unwrap();
    let what = format!("{end:?} after {frames} frames");
    assert_eq!(ids(&client.query(SHOWN, &[]).await.unwrap()), [1, 2, 3, 5], "{what}");
    assert_eq!(client.pending().await.unwrap().count(), 0, "{what}");
    assert_eq!(client.rejections().await.unwrap(), [], "{what}");
    soon(client.close()).await;
    end_server.send(()).unwrap();
    let notes = soon(server).await.unwrap();
    assert_eq!((notes.ids(), notes.decided()), (vec![1, 2, 3, 5], 1), "{what}");
    is_over
}

/// P2: wherever a background task is when its process ends, the next one begins cold and completes it: what
/// was written is decided once, and what was missed and not loaded is here.
#[tokio::test]
async fn a_sync_that_is_killed_at_any_point_is_completed_by_the_next() {
    for end in [End::Dropped, End::Killed] {
        let mut frames = 0;
        while !ends_after(frames, end).await {
            frames += 1;
        }
        assert!(frames > 8, "{frames} points are not all of them");
    }
}
