//! How often a device is waited for (P7): slow storage takes 200 ms and more to sync.
//!
//! This binary has an `fsync` of its own, which counts and then does what the system does. So each is
//! counted that SQLite asks the system for.

#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "what the system offers is called in its own way")]

use std::cell::Cell;
use std::ffi::{c_int, c_long};

use sdk_machine::{Step, Write};
use sdk_replica::Tidied;

use crate::world::{Place, execute, put_lane, write};

#[cfg(target_arch = "x86_64")]
const CALLS: [c_long; 2] = [74, 75];
#[cfg(not(target_arch = "x86_64"))]
const CALLS: [c_long; 2] = [82, 83];

thread_local! {
    static SYNCS: Cell<u64> = const { Cell::new(0) };
}

unsafe extern "C" {
    fn syscall(number: c_long, descriptor: c_int) -> c_long;
}

fn sync(call: c_long, descriptor: c_int) -> c_int {
    SYNCS.with(|syncs| syncs.set(syncs.get() + 1));
    // SAFETY: it takes any number, and says so where there is no such file.
    let done = unsafe { syscall(call, descriptor) };
    c_int::try_from(done).unwrap_or(-1)
}

// SAFETY: it is what the system has under this name, but for the count.
#[unsafe(no_mangle)]
extern "C" fn fsync(descriptor: c_int) -> c_int {
    sync(CALLS[0], descriptor)
}

// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn fdatasync(descriptor: c_int) -> c_int {
    sync(CALLS[1], descriptor)
}

/// How often some work of this thread waits for the device.
fn syncs<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = SYNCS.with(Cell::get);
    let done = work();
    (SYNCS.with(Cell::get) - before, done)
}

#[test]
fn a_write_waits_for_the_device_once_at_most() {
    let place = Place::new();
    let mut replica = place.with_messages();
    execute(&mut replica, "CREATE TABLE drafts (id INTEGER PRIMARY KEY, body TEXT)", &[]).unwrap();
    let (mut all, mut most, mut of_journal, mut shortened) = (0, 0, 0, 0);
    for number in 0..1_500 {
        let body = format!("{number}{}", "x".repeat(5_000));
        for sql in [
            format!("UPDATE chat.messages SET body = '{body}' WHERE id = 1"),
            format!("INSERT OR REPLACE INTO drafts VALUES (1, '{body}')"),
        ] {
            let (count, _) = syncs(|| write(&mut replica, &sql));
            (all, most) = (all + count, most.max(count));
        }
        if replica.is_journal_long() {
            shortened += 1;
            of_journal += syncs(|| replica.shorten_journal().unwrap()).0;
        }
    }
    assert!(most <= 1, "a write waits {most} times");
    assert!(shortened > 3, "{shortened}");
    assert!(all <= shortened + 1, "{all}: only where the journal begins anew");
    assert!(of_journal >= 2 * shortened, "the count counts: {of_journal}");
}

/// What is about to leave the device is durable before: once for all of it.
#[test]
fn what_is_to_be_sent_waits_for_the_device_once() {
    let place = Place::new();
    let mut replica = place.with_messages();
    for number in 0..10 {
        write(&mut replica, &format!("UPDATE chat.messages SET body = '{number}' WHERE id = 1"));
    }
    let writes: Vec<Write> = vec![put_lane(9)];
    let (count, done) = syncs(|| replica.apply(&Step { writes, synced: true }));
    done.unwrap();
    assert_eq!(count, 1);
    let (count, done) = syncs(|| replica.tidy().unwrap());
    assert_eq!((count, done), (0, Tidied::All), "nothing has gone");
}

/// An application that comes to the front and goes again, with nothing to do.
#[test]
fn to_open_and_close_a_file_writes_nothing() {
    let place = Place::new();
    drop(place.with_messages());
    let before = std::fs::read(place.path()).unwrap();
    for _ in 0..3 {
        let (count, ()) = syncs(|| {
            let mut replica = place.open();
            replica.load().unwrap();
            let _ = replica.idle().unwrap();
            assert_eq!(replica.tidy().unwrap(), Tidied::All);
        });
        assert_eq!(count, 0);
        assert!(std::fs::read(place.path()).unwrap() == before, "something was written");
    }
}
